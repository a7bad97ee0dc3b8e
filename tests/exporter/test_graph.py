"""The exported graph: its shapes, its size, its operators, its results."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exporter.bundle import GRAPH_FILE
from schemas.bundle import INPUTS, OUTPUTS
from trainer.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def graph(bundle_folder: Path) -> onnx.ModelProto:
    return onnx.load(bundle_folder / GRAPH_FILE)


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_the_contracts(graph: onnx.ModelProto) -> None:
    assert {value.name: shape(value) for value in graph.graph.input} == {
        "waveform": ["batch", 8_000],
        "lyrics_ids": ["batch", "tokens"],
        "lyrics_mask": ["batch", "tokens"],
    }
    assert {value.name: shape(value) for value in graph.graph.output} == {
        "logits": ["batch", 3],
        "embedding": ["batch", 16],
    }


def test_every_weight_is_in_the_graph_once(graph: onnx.ModelProto, checkpoint: Checkpoint) -> None:
    weights = sum(weight.numel() for weight in checkpoint.network.parameters())
    frontend = sum(buffer.numel() for buffer in checkpoint.network.frontend.buffers())
    held = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    assert held <= 1.02 * (weights + frontend)
    values = [tensor.SerializeToString() for tensor in graph.graph.initializer if np.prod(tensor.dims) > 64]
    assert len(values) == len(set(values))


def test_no_fourier_operator_and_no_convolution_of_the_waveform(graph: onnx.ModelProto) -> None:
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"DFT", "STFT", "Loop", "If", "Scan"}
    assert sum(node.op_type == "Conv" for node in graph.graph.node) == 5
    assert {node.domain for node in graph.graph.node} == {""}


def test_it_says_nothing_of_the_machine_that_made_it(bundle_folder: Path) -> None:
    content = (bundle_folder / GRAPH_FILE).read_bytes()
    assert str(Path(torch.__file__).parents[2]).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 40), (2, 8), (5, 13), (64, 3)])
def test_logits_and_embedding_are_the_networks(
    bundle_folder: Path, checkpoint: Checkpoint, batch: int, tokens: int
) -> None:
    chance = torch.Generator().manual_seed(batch)
    waveform = torch.randn(batch, 8_000, generator=chance)
    ids = torch.randint(5, 20, (batch, tokens), generator=chance)
    mask = torch.ones_like(ids)
    mask[-1, tokens // 2 :] = 0
    with torch.no_grad():
        expected = checkpoint.network(waveform, ids, mask)
    session = onnxruntime.InferenceSession(bundle_folder / GRAPH_FILE, providers=["CPUExecutionProvider"])
    feed = dict(zip(INPUTS, (waveform.numpy(), ids.numpy(), mask.numpy()), strict=True))
    for served, wanted in zip(session.run(OUTPUTS, feed), expected, strict=True):
        np.testing.assert_allclose(served, wanted.numpy(), atol=1e-4)
