"""The cost of a precision in labels is measured, and a cost above the limits is refused."""

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from exporter.bundle import GRAPH_FILE, INT8_FILE, PrecisionOptions, write_bundle
from exporter.checks.precision_cost import check_cost, measure_costs_on_tracks
from exporter.errors import LossError
from schemas.bundle import PrecisionCost, read_bundle
from tests.exporter.tracks import write_tracks
from tests.exporter.weights import genre_vectors
from trainer.checkpoint import Checkpoint
from trainer.data.library import Library
from trainer.data.read import read_library
from trainer.errors import ManifestError


def write_negated(graph: Path, out: Path) -> None:
    """Write a copy of a graph whose scores are 1 - s instead of s."""
    model = onnx.load(graph)
    name = genre_vectors(model.graph)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, out)


@pytest.fixture
def exported(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the shared graph instead of exporting, which takes seconds, and skip the product parity."""
    monkeypatch.setattr(
        "exporter.bundle.export_graph", lambda _, file: shutil.copyfile(bundle_folder / GRAPH_FILE, file)
    )
    monkeypatch.setattr("exporter.bundle.measure_product_parity", lambda *_: {})


@pytest.mark.parametrize(
    ("changed", "map_loss", "refused"),
    [(0.005, None, False), (0.006, None, True), (0, 0.005, False), (0, 0.006, True), (0, -1, False)],
)
def test_the_limits(changed: float, map_loss: float | None, refused: bool) -> None:
    cost = PrecisionCost(data_set="tones", inputs=9, changed_decisions=changed, map_loss=map_loss)
    if refused:
        with pytest.raises(LossError, match="--allow-loss"):
            check_cost("model.int8.onnx", cost)
    else:
        check_cost("model.int8.onnx", cost)


@pytest.mark.usefixtures("exported")
def test_a_precision_that_changes_labels_needs_allow_loss(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.bundle.quantize_to_int8", write_negated)
    tracks = labelled_library(tmp_path, checkpoint)
    with pytest.raises(LossError, match=r"label decisions and costs .* mAP on tones"):
        write_bundle(checkpoint, tmp_path / "out", "tiny", "1", PrecisionOptions(("int8",), tracks))
    assert [path.name for path in tmp_path.iterdir()] == ["tones"]
    write_bundle(checkpoint, tmp_path / "out", "tiny", "1", PrecisionOptions(("int8",), allow_loss=True))
    cost = read_bundle(tmp_path / "out").precision_cost["int8"]
    assert cost.changed_decisions > 0.1
    assert cost.data_set == "noise"


@pytest.mark.usefixtures("exported")
def test_a_bundle_of_fp32_only_has_no_cost(checkpoint: Checkpoint, tmp_path: Path) -> None:
    manifest = write_bundle(checkpoint, tmp_path / "out", "tiny", "1")
    assert manifest.graphs.keys() == {"fp32"}
    assert manifest.precision_cost == {}
    assert INT8_FILE not in manifest.files


def labelled_library(folder: Path, checkpoint: Checkpoint) -> Library:
    (folder / "tones").mkdir()
    return read_library(write_tracks(folder / "tones"), checkpoint.description.genres)


def test_the_cost_is_measured_on_the_validation_split(
    bundle_folder: Path,
    checkpoint: Checkpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracks = labelled_library(tmp_path, checkpoint)
    fp32, negated = bundle_folder / GRAPH_FILE, tmp_path / "negated.onnx"
    write_negated(fp32, negated)
    progress: list[str] = []
    found = measure_costs_on_tracks(
        checkpoint, tracks, fp32, {"fp16": fp32, "int8": negated}, progress.append
    )
    assert found["fp16"] == PrecisionCost(data_set="tones, valid", inputs=3, changed_decisions=0, map_loss=0)
    assert found["int8"].changed_decisions > 0.3
    (from_negated,) = measure_costs_on_tracks(checkpoint, tracks, negated, {"fp16": fp32}).values()
    assert found["int8"].map_loss
    assert from_negated.map_loss == -found["int8"].map_loss
    assert progress[-1] == "measuring precisions, track 3 of 4"
    assert "track 4 is left out" in caplog.text


def test_genres_that_the_checkpoint_lacks_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="polka is not a genre of the checkpoint"):
        read_library(write_tracks(tmp_path, "polka"), checkpoint.description.genres)


def test_a_split_that_cannot_be_read_is_refused(
    bundle_folder: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    tracks = labelled_library(tmp_path, checkpoint)
    for file in tmp_path.rglob("*.flac"):
        file.unlink()
    fp32 = bundle_folder / GRAPH_FILE
    with pytest.raises(ManifestError, match="no track of split valid can be read"):
        measure_costs_on_tracks(checkpoint, tracks, fp32, {"int8": fp32})


@pytest.mark.usefixtures("exported")
def test_the_manifest_and_the_card_have_the_cost_on_tracks(checkpoint: Checkpoint, tmp_path: Path) -> None:
    tracks = labelled_library(tmp_path, checkpoint)
    write_bundle(checkpoint, tmp_path / "out", "tiny", "1", PrecisionOptions(("int8",), tracks))
    cost = read_bundle(tmp_path / "out").precision_cost["int8"]
    assert (cost.data_set, cost.inputs) == ("tones, valid", 3)
    assert cost.map_loss is not None
    assert f"costs {cost.map_loss:.4f} mAP (tones, valid, 3)" in (tmp_path / "out/README.md").read_text()
