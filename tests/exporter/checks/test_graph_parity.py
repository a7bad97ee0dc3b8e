"""`verify` accepts the graphs of a checkpoint, and refuses changed ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporter.checks.cases import parity_cases
from exporter.checks.graph_parity import verify
from exporter.errors import GraphError, ParityError
from schemas.bundle import AudioInput, sha256_of
from schemas.errors import BundleError
from tests.exporter.weights import genre_vectors
from trainer.checkpoint import Checkpoint


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def update_hash(file: Path) -> None:
    """Put a file's new hash into its bundle's manifest."""
    path = file.parent / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["files"][file.name] = sha256_of(file)
    path.write_text(json.dumps(manifest))


def scale(graph: Path, weight: str, factor: float) -> None:
    """Multiply a weight of a graph by `factor`, and update the graph's hash."""
    model = onnx.load(graph)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == weight)
    changed = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(changed, weight))
    onnx.save(model, graph)
    update_hash(graph)


def test_accepts_the_bundle_of_the_checkpoint(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    found = verify(bundle_folder, checkpoint)
    assert found.keys() == {"fp32", "fp16", "int8"}
    assert 0 < found["fp32"].max_probability_difference <= 1e-5
    assert found["fp32"].max_probability_difference < found["int8"].max_probability_difference < 0.01


def test_compares_with_the_fp32_graph_without_a_checkpoint(bundle_folder: Path) -> None:
    found = verify(bundle_folder)
    assert found["fp32"].max_probability_difference == 0
    assert 0 < found["int8"].max_probability_difference < 0.01


def test_the_cases_cover_batches_lyrics_and_levels() -> None:
    audio = AudioInput(sample_rate=8_000, window_seconds=1, windows=1, picking="spread")
    cases = list(parity_cases(audio, 40, 38))
    assert {len(case["waveform"]) for case in cases} == {1, 2, 3, 7, 16}
    assert {case["lyrics_ids"].shape[1] for case in cases} == {1, 2, 21, 40}
    rows = [case["lyrics_ids"] for case in cases if len(case["lyrics_ids"]) == 7]
    assert any(np.array_equal(ids[0], ids[5]) and not np.array_equal(ids[0], ids[4]) for ids in rows)
    masks = [row for case in cases for row in case["lyrics_mask"]]
    assert {0, 1, 2, 40} <= {int(row.sum()) for row in masks}
    loudest = [float(np.abs(row).max()) for case in cases for row in case["waveform"]]
    assert min(loudest) == 0
    assert max(loudest) == 1
    assert all(case["lyrics_ids"].max() < 38 for case in cases)
    again = list(parity_cases(audio, 40, 38))
    assert all(
        np.array_equal(one["waveform"], two["waveform"]) for one, two in zip(cases, again, strict=True)
    )


@pytest.mark.parametrize(
    "weight",
    [
        "network.fuse.weight",
        "network.lyrics_tokens.missing",
        "network.audio_encoder.blocks.0.weight",
        "network.lyrics_encoder.embeddings.word_embeddings.weight",
        "network.frontend.mel.inner",
    ],
)
def test_a_changed_weight_fails(copy: Path, checkpoint: Checkpoint, weight: str) -> None:
    scale(copy / "model.fp32.onnx", weight, 2)
    with pytest.raises(ParityError, match="differ by") as raised:
        verify(copy, checkpoint)
    assert "\n" not in str(raised.value)


def test_a_wrong_int8_graph_fails(copy: Path) -> None:
    graph = copy / "model.int8.onnx"
    scale(graph, genre_vectors(onnx.load(graph).graph), -3)
    with pytest.raises(ParityError, match=r"model.int8.onnx and the fp32 graph differ"):
        verify(copy)


@pytest.mark.parametrize("file", ["model.fp32.onnx", "model.int8.onnx"])
def test_the_error_names_a_graph_that_does_not_load(copy: Path, file: str) -> None:
    whole = (copy / file).read_bytes()
    (copy / file).write_bytes(whole[: len(whole) // 2])
    update_hash(copy / file)
    with pytest.raises(GraphError, match=f"{file} does not load") as raised:
        verify(copy)
    assert "\n" not in str(raised.value)


def test_nan_fails(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    checkpoint.network.fuse.bias.data.fill_(float("nan"))
    with pytest.raises(ParityError):
        verify(bundle_folder, checkpoint)


def test_a_changed_file_fails_before_any_graph_runs(copy: Path, checkpoint: Checkpoint) -> None:
    with (copy / "model.fp32.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        verify(copy, checkpoint)


def test_a_checkpoint_of_other_windows_fails(copy: Path, checkpoint: Checkpoint) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["audio"]["windows"] = 3
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(ParityError, match="different windows"):
        verify(copy, checkpoint)


def test_a_checkpoint_of_other_genres_fails(copy: Path, checkpoint: Checkpoint) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["genres"].reverse()
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(ParityError, match="different genres"):
        verify(copy, checkpoint)
