"""Converts an fp32 graph to fp16 for GPUs: half the weights, matrix products on tensor cores.

Inputs and outputs stay fp32, and so do operators whose values exceed the range of fp16.
"""

from pathlib import Path

import onnx
from onnx import TensorProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from exporter.passes.frontend_nodes import find_frontend_nodes
from exporter.passes.int8 import LOGITS

FP32_OPERATORS = ("LayerNormalization", "Softmax", "ReduceSum", "ReduceMean", "Exp", "Pow")
"""Operators that stay fp32: their sums and powers can exceed 65 504, the largest fp16 number."""


def convert_to_fp16(graph: Path, out: Path) -> None:
    """Convert the fp32 graph `graph` and write it to `out`."""
    model = onnx.load(graph)
    # value_info also lists weights, and the converter would insert casts for them.
    del model.graph.value_info[:]
    original = {node.name for node in model.graph.node}
    fp32_nodes = [
        *find_frontend_nodes(model.graph),
        *(node.name for node in model.graph.node if LOGITS in node.output),
    ]
    converted = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *FP32_OPERATORS],
        node_block_list=fp32_nodes,
    )
    _drop_round_trips(converted.graph, original)
    # Remove unused nodes, and move the converter's casts of the inputs to the front.
    cleaned = OnnxModel(converted)
    cleaned.prune_graph(allow_remove_graph_inputs=False)
    cleaned.topological_sort()
    # It holds the types before the conversion.
    del converted.graph.value_info[:]
    onnx.save(converted, out)


def _drop_round_trips(graph: onnx.GraphProto, original: set[str]) -> None:
    """Remove casts to fp16 and back between two nodes that stay fp32: they lose precision.

    `original` holds the names of the nodes before the conversion.
    """
    fp32_input_of = {
        node.output[0]: node.input[0]
        for node in graph.node
        if _casts_to(node, TensorProto.FLOAT16) and node.name not in original
    }
    for node in graph.node:
        if node.op_type == "Shape":
            node.input[0] = fp32_input_of.get(node.input[0], node.input[0])
        elif _casts_to(node, TensorProto.FLOAT) and node.input[0] in fp32_input_of:
            node.input[0] = fp32_input_of[node.input[0]]
            node.op_type = "Identity"
            del node.attribute[:]


def _casts_to(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == to
