"""The exported graph: its shapes, its size, its operators, its results."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exporter.bundle import GRAPH_FILE
from exporter.errors import GraphError
from exporter.graph import export_graph, write_graph
from schemas.bundle import INPUTS, OUTPUTS
from tests.exporter.conftest import CONFIG, LITTLE
from trainer.checkpoint import Checkpoint
from trainer.network.lyrics_model import train_little_bert
from trainer.network.network import Network


@pytest.fixture(scope="module")
def graph(bundle_folder: Path) -> onnx.ModelProto:
    return onnx.load(bundle_folder / GRAPH_FILE)


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_have_the_names_and_shapes_of_the_schema(graph: onnx.ModelProto) -> None:
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
    stored = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    assert stored <= 1.02 * (weights + frontend)
    values = [tensor.SerializeToString() for tensor in graph.graph.initializer if np.prod(tensor.dims) > 64]
    assert len(values) == len(set(values))


def test_no_fourier_operator_and_no_convolution_of_the_waveform(graph: onnx.ModelProto) -> None:
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"DFT", "STFT", "Loop", "If", "Scan"}
    assert sum(node.op_type == "Conv" for node in graph.graph.node) == 5
    assert {node.domain for node in graph.graph.node} == {""}


def test_the_graph_contains_no_paths_of_this_machine(bundle_folder: Path) -> None:
    content = (bundle_folder / GRAPH_FILE).read_bytes()
    assert str(Path(torch.__file__).parents[2]).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 40), (2, 8), (5, 13), (64, 3)])
def test_logits_and_embedding_equal_the_networks(
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
    for served, expected_output in zip(session.run(OUTPUTS, feed), expected, strict=True):
        np.testing.assert_allclose(served, expected_output.numpy(), atol=1e-4)


@pytest.mark.slow
def test_one_graph_accepts_1_to_64_windows_and_8_to_512_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = train_little_bert(LITTLE, ["love me tonight"], 512, seed=0).encoder
    config = CONFIG.network.model_copy(update={"max_tokens": 512})
    network = Network(config, encoder, torch.randn(3, 16), torch.rand(3, 3)).eval()
    export_graph(network, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3, 7, 16, 33, 64):
        for tokens in (8, 13, 64, 100, 512):
            chance = torch.Generator().manual_seed(batch)
            waveform = torch.randn(batch, 8_000, generator=chance)
            ids = torch.randint(5, 9, (batch, tokens), generator=chance)
            mask = (torch.arange(tokens) < torch.randint(tokens + 1, (batch, 1), generator=chance)).long()
            with torch.no_grad():
                expected, _ = network(waveform, ids, mask)
            feed = dict(zip(INPUTS, (waveform.numpy(), ids.numpy(), mask.numpy()), strict=True))
            (served,) = session.run(OUTPUTS[:1], feed)
            np.testing.assert_allclose(served, expected.numpy(), atol=1e-4)


def test_weights_that_exceed_the_file_limit_are_refused(tmp_path: Path) -> None:
    network = torch.nn.Linear(2**15, 2**14, device="meta")
    with pytest.raises(GraphError, match=r"weights take 2\.0 GiB, .*: choose a smaller encoder"):
        write_graph(network, 8_000, 40, tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())
