"""Weights of a graph by what they do: the exporter's names for them change with the network."""

import onnx


def genre_vectors(graph: onnx.GraphProto) -> str:
    """Name of the weight whose product with the fused vector is the logits."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers["logits"]
    while node.op_type in ("Identity", "Cast"):
        node = makers[node.input[0]]
    assert node.op_type == "MatMul"
    return str(node.input[1])
