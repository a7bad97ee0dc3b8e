"""Saving and loading checkpoints, and the one-line errors of damaged ones."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.errors import CheckpointError


@pytest.fixture
def copy(checkpoint_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "checkpoint"))


def test_a_loaded_checkpoint_can_be_saved_again_unchanged(checkpoint_folder: Path, tmp_path: Path) -> None:
    first = load_checkpoint(checkpoint_folder)
    tokenizer = Tokenizer.from_file(str(first.tokenizer_file))
    save_checkpoint(tmp_path, first.description, first.network, tokenizer, first.trained_on)
    second = load_checkpoint(tmp_path)
    assert second.trained_on == first.trained_on
    assert second.description == first.description
    weights = second.network.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in first.network.state_dict().items())
    assert second.tokenizer.encode("love heart") == first.tokenizer.encode("love heart")
    assert not second.network.training


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("checkpoint.json", None, "no checkpoint at"),
        ("checkpoint.json", "{", "checkpoint: Invalid JSON"),
        ("checkpoint.json", "{}", "config: Field required"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("weights.safetensors", None, "is damaged"),
        ("weights.safetensors", "nonsense", "is damaged"),
        ("lyrics_encoder/config.json", None, "is damaged"),
    ],
)
def test_damaged_files_raise_one_line(copy: Path, file: str, content: str | None, message: str) -> None:
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_text(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_checkpoint(copy)
    assert "\n" not in str(raised.value)


def test_weights_of_another_configuration_are_refused(copy: Path) -> None:
    path = copy / "checkpoint.json"
    description = json.loads(path.read_text())
    description["config"]["network"]["projection"] = 5
    path.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="does not fit the configuration") as raised:
        load_checkpoint(copy)
    assert "\n" not in str(raised.value)


def test_too_few_thresholds_are_refused(copy: Path) -> None:
    path = copy / "checkpoint.json"
    description = json.loads(path.read_text())
    description["thresholds"].pop()
    path.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="differ in number"):
        load_checkpoint(copy)
