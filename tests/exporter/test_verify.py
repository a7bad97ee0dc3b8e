"""`verify` passes what is the checkpoint's, and nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporter.errors import ParityError
from exporter.verify import verify
from schemas.bundle import sha256_of
from schemas.errors import BundleError
from trainer.checkpoint import Checkpoint


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def test_passes_its_own_bundle(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    (parity,) = verify(bundle_folder, checkpoint).values()
    assert 0 < parity.max_probability_difference <= 1e-5


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
    file = copy / "model.fp32.onnx"
    model = onnx.load(file)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == weight)
    changed = numpy_helper.to_array(tensor) * np.float32(1.2)
    tensor.CopyFrom(numpy_helper.from_array(changed, weight))
    onnx.save(model, file)
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["files"][file.name] = sha256_of(file)
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(ParityError, match="differ by") as raised:
        verify(copy, checkpoint)
    assert "\n" not in str(raised.value)


def test_not_a_number_fails(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    checkpoint.network.fuse.bias.data.fill_(float("nan"))
    with pytest.raises(ParityError):
        verify(bundle_folder, checkpoint)


def test_a_changed_byte_fails_before_anything_runs(copy: Path, checkpoint: Checkpoint) -> None:
    with (copy / "model.fp32.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        verify(copy, checkpoint)


def test_a_checkpoint_of_other_genres_fails(copy: Path, checkpoint: Checkpoint) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["genres"].reverse()
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(ParityError, match="other genres"):
        verify(copy, checkpoint)
