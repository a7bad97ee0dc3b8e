"""Quantises the learned matrix products of an fp32 graph to int8, for CPUs.

Weights are quantised per channel, activations dynamically.
"""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from exporter.passes.frontend_nodes import find_frontend_nodes

LOGITS = "logits"
"""Output of the dot product with the genre vectors, which stays fp32: it is cheap and decides the labels."""


def quantize_to_int8(graph: Path, out: Path) -> None:
    """Quantise the fp32 graph `graph` and write it to `out`. Its inputs and outputs stay fp32."""
    products = _learned_products(onnx.load(graph).graph)
    root = logging.getLogger()
    level = root.level
    # The quantiser logs advice to preprocess the graph, which makes no difference here.
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            graph,
            out,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Seven bits: with eight, sums overflow on CPUs without VNNI, so that labels depend on the CPU.
            reduce_range=True,
        )
    finally:
        root.setLevel(level)


def _learned_products(graph: onnx.GraphProto) -> list[str]:
    weights = {tensor.name for tensor in graph.initializer}
    frontend = find_frontend_nodes(graph)
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul"
        and node.input[1] in weights
        and node.name not in frontend
        and LOGITS not in node.output
    ]
