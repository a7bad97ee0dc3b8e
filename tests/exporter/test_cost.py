"""What a precision costs is measured, and too much is refused."""

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from exporter.bundle import GRAPH_FILE, INT8_FILE, Int8, write_bundle
from exporter.cost import refuse_loss
from exporter.errors import LossError
from schemas.bundle import PrecisionCost, read_bundle
from trainer.checkpoint import Checkpoint


def negated(graph: Path, out: Path) -> None:
    """A graph that says the opposite: every score s becomes 1 - s."""
    model = onnx.load(graph)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "permute_1")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, out)


@pytest.fixture
def exported(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export takes seconds: the one that the tests share is its result."""
    monkeypatch.setattr(
        "exporter.bundle.export_graph", lambda _, file: shutil.copyfile(bundle_folder / GRAPH_FILE, file)
    )


@pytest.mark.parametrize(
    ("changed", "map_loss", "refused"),
    [(0.005, None, False), (0.006, None, True), (0, 0.005, False), (0, 0.006, True), (0, -1, False)],
)
def test_the_limits(changed: float, map_loss: float | None, refused: bool) -> None:
    cost = PrecisionCost(data_set="tones", inputs=9, changed_decisions=changed, map_loss=map_loss)
    if refused:
        with pytest.raises(LossError, match="--allow-loss"):
            refuse_loss("model.int8.onnx", cost)
    else:
        refuse_loss("model.int8.onnx", cost)


@pytest.mark.usefixtures("exported")
def test_no_bundle_of_a_precision_that_changes_labels_unless_told_so(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.bundle.quantise", negated)
    with pytest.raises(LossError, match="label decisions on noise"):
        write_bundle(checkpoint, tmp_path / "out", "tiny", "1", Int8())
    assert not list(tmp_path.iterdir())
    write_bundle(checkpoint, tmp_path / "out", "tiny", "1", Int8(allow_loss=True))
    assert read_bundle(tmp_path / "out").precision_cost["int8"].changed_decisions > 0.1


@pytest.mark.usefixtures("exported")
def test_fp32_alone_has_no_cost(checkpoint: Checkpoint, tmp_path: Path) -> None:
    manifest = write_bundle(checkpoint, tmp_path / "out", "tiny", "1")
    assert manifest.graphs.keys() == {"fp32"}
    assert manifest.precision_cost == {}
    assert INT8_FILE not in manifest.files
