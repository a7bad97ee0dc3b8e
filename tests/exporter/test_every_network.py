"""Every network that can be configured, in every precision."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from exporter.checks.cases import Feed
from exporter.graph import export_graph
from exporter.passes.fp16 import FP32_OPERATORS, convert_to_fp16
from exporter.passes.frontend_nodes import ENCODER, find_frontend_nodes
from exporter.passes.int8 import quantize_to_int8
from schemas.bundle import INPUTS, OUTPUTS
from tests.exporter.checks.test_operators import unsupported_operators
from tests.exporter.conftest import CONFIG
from tests.trainer.network.test_audio_model import AUDIO_MODELS, audio_input
from tests.trainer.networks import build
from trainer.config import NetworkConfig

NETWORKS: dict[str, dict[str, object]] = {
    "audio only": {"lyrics": False, "contrastive": False, "cross_attention": False},
    "late fusion": {
        "contrastive": False,
        "cross_attention": False,
        "genre_graph": False,
        "fusion_layers": 2,
    },
    "deeper": {"attention_layers": 2, "attention_hidden": 24, "graph_layers": 3},
    **{kind: {"audio_model": kind} for kind in AUDIO_MODELS},
}


@dataclass(frozen=True)
class Exported:
    """A network's graphs in every precision, an input, and the network's outputs for it."""

    folder: Path
    feed: Feed
    expected: dict[str, NDArray[np.float32]]

    def frontend(self) -> set[str]:
        return find_frontend_nodes(onnx.load(self.folder / "fp32.onnx").graph)


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder, settings = tmp_path_factory.mktemp("graphs"), NETWORKS[request.param]
    if "audio_model" in settings:
        write, seconds = AUDIO_MODELS[request.param]
        settings = {"audio_model": write(folder / "pretrained"), "audio": audio_input(seconds)}
    network = build(NetworkConfig.model_validate(CONFIG.network.model_dump() | settings))
    export_graph(network, folder / "fp32.onnx")
    quantize_to_int8(folder / "fp32.onnx", folder / "int8.onnx")
    export_graph(network, folder / "every-row.onnx", deduplicate=False)
    convert_to_fp16(folder / "every-row.onnx", folder / "fp16.onnx")
    chance = torch.Generator().manual_seed(0)
    waveform = torch.randn(3, network.config.audio.window_samples, generator=chance) * 0.1
    waveform[2, 6_000:] = 0
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    ids = torch.randint(1, 49, (3, 3), generator=chance) * mask
    with torch.no_grad():
        output = network(waveform, ids, mask)
    return Exported(
        folder,
        {name: part.numpy() for name, part in zip(INPUTS, (waveform, ids, mask), strict=True)},
        {name: part.numpy() for name, part in zip(OUTPUTS, output, strict=True)},
    )


def run_graph(graph: Path, feed: Feed) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(OUTPUTS, feed), strict=True))


def test_the_fp32_graph_equals_the_network(exported: Exported) -> None:
    for name, found in run_graph(exported.folder / "fp32.onnx", exported.feed).items():
        np.testing.assert_allclose(found, exported.expected[name], atol=1e-4, err_msg=name)


def test_gpus_support_the_operators_of_fp32_and_fp16(exported: Exported) -> None:
    assert not unsupported_operators(exported.folder / "fp32.onnx")
    assert not unsupported_operators(exported.folder / "fp16.onnx")
    assert unsupported_operators(exported.folder / "int8.onnx") == {"DynamicQuantizeLinear", "MatMulInteger"}


def test_the_frontend_is_every_node_before_the_encoder(exported: Exported) -> None:
    graph = onnx.load(exported.folder / "fp32.onnx").graph
    producers = {name: node for node in graph.node for name in node.output}
    begins = next(node for node in graph.node if node.op_type in ENCODER)
    before, waiting = set(), list(begins.input)
    while waiting:
        node = producers.get(waiting.pop())
        if node and node.op_type != "Shape":
            before.add(node.name)
            waiting += node.input
    assert before
    assert exported.frontend() == before


def test_no_product_of_the_frontend_is_quantized(exported: Exported) -> None:
    def products(file: str) -> set[str]:
        return {
            node.name for node in onnx.load(exported.folder / file).graph.node if node.op_type == "MatMul"
        }

    before = products("fp32.onnx") & exported.frontend()
    assert before <= products("int8.onnx")
    assert products("fp32.onnx") - products("int8.onnx")


def test_the_frontend_and_every_sum_stay_fp32(exported: Exported) -> None:
    before = onnx.load(exported.folder / "every-row.onnx").graph
    fp32_nodes = find_frontend_nodes(before) | {
        node.name for node in before.node if node.op_type in FP32_OPERATORS
    }
    graph = onnx.shape_inference.infer_shapes(onnx.load(exported.folder / "fp16.onnx")).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    fp16_values = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16}
    assert len(fp16_values) > 20
    used = {node.name: {*node.input, *node.output} for node in graph.node}
    assert not [name for name in fp32_nodes if fp16_values.intersection(used[name])]


def test_fp16_is_near_the_network(exported: Exported) -> None:
    # On a CPU, ONNX Runtime computes many fp16 operators in fp32; the reference evaluator does not.
    graph = ReferenceEvaluator(onnx.load(exported.folder / "fp16.onnx"))
    for name, found in zip(OUTPUTS, graph.run(list(OUTPUTS), exported.feed), strict=True):
        np.testing.assert_allclose(found, exported.expected[name], atol=0.05, err_msg=name)


def test_int8_is_near_the_network(exported: Exported) -> None:
    found = run_graph(exported.folder / "int8.onnx", exported.feed)
    np.testing.assert_allclose(found["logits"], exported.expected["logits"], atol=0.5)
