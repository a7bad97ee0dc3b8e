"""Weights of a graph, found by their use, because their names depend on the network."""

import onnx


def genre_vectors(graph: onnx.GraphProto) -> str:
    """Return the name of the weight whose product with the fused vector gives the logits."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers["logits"]
    while node.op_type in ("Identity", "Cast"):
        node = producers[node.input[0]]
    assert node.op_type == "MatMul"
    return str(node.input[1])
