"""fp32 graph to int8: the learned matrix products, weights by channel, activations as they come."""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from exporter.passes.frontend_nodes import frontend_nodes

LAST = "logits"
"""The dot product with the genre vectors, which costs nothing and decides."""


def quantise(graph: Path, out: Path) -> None:
    """Write the int8 graph of an fp32 one. Its inputs and outputs stay fp32."""
    products = _learned_products(onnx.load(graph).graph)
    root = logging.getLogger()
    level = root.level
    # It recommends another preparation of the graph, which changes nothing here.
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            graph,
            out,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Seven bits: with eight, sums overflow on CPUs without VNNI, and labels depend on the CPU.
            reduce_range=True,
        )
    finally:
        root.setLevel(level)


def _learned_products(graph: onnx.GraphProto) -> list[str]:
    weights = {tensor.name for tensor in graph.initializer}
    frontend = frontend_nodes(graph)
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul"
        and node.input[1] in weights
        and node.name not in frontend
        and LAST not in node.output
    ]
