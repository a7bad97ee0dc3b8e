"""fp32 graph to fp16, for GPUs: half the weights, and matrix products on tensor cores.

Inputs and outputs stay fp32, and with them what half precision cannot hold.
"""

from pathlib import Path

import onnx
from onnx import TensorProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from exporter.passes.frontend_nodes import frontend_nodes
from exporter.passes.int8 import LAST

SUMS = ("LayerNormalization", "Softmax", "ReduceSum", "ReduceMean", "Exp", "Pow")
"""Operators whose sums and powers pass 65 504, the largest half."""


def halve(graph: Path, out: Path) -> None:
    """Write the fp16 graph of an fp32 one."""
    model = onnx.load(graph)
    # It also lists weights, which the converter would then take for values to be cast.
    del model.graph.value_info[:]
    own = {node.name for node in model.graph.node}
    kept = [*frontend_nodes(model.graph), *(node.name for node in model.graph.node if LAST in node.output)]
    halved = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *SUMS],
        node_block_list=kept,
    )
    _drop_round_trips(halved.graph, own)
    # What that leaves unused goes, and the converter's casts of inputs go in front.
    tidied = OnnxModel(halved)
    tidied.prune_graph(allow_remove_graph_inputs=False)
    tidied.topological_sort()
    # Types of values as they were before.
    del halved.graph.value_info[:]
    onnx.save(halved, out)


def _drop_round_trips(graph: onnx.GraphProto, own: set[str]) -> None:
    """The converter goes through fp16 between two nodes that both stay fp32: that rounds, for nothing.

    `own` names the nodes that the graph had before.
    """
    before = {
        node.output[0]: node.input[0]
        for node in graph.node
        if _casts_to(node, TensorProto.FLOAT16) and node.name not in own
    }
    for node in graph.node:
        if node.op_type == "Shape":
            node.input[0] = before.get(node.input[0], node.input[0])
        elif _casts_to(node, TensorProto.FLOAT) and node.input[0] in before:
            node.input[0] = before[node.input[0]]
            node.op_type = "Identity"
            del node.attribute[:]


def _casts_to(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == to
