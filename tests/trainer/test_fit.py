"""A whole run on tones and words, in seconds."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from trainer.checkpoint import Checkpoint, load_checkpoint
from trainer.config import TrainingConfig
from trainer.data import read_library
from trainer.errors import OutputError
from trainer.fit import fit
from trainer.genre_graph import correlations
from trainer.lyrics_model import LyricsModel, name_embeddings


def test_learns_to_hear_and_to_read(checkpoint: Checkpoint) -> None:
    with_lyrics, withheld = checkpoint.description.measurements
    assert (with_lyrics.split, withheld.split) == ("test", "test, lyrics withheld")
    assert with_lyrics.tracks == withheld.tracks == 12
    assert with_lyrics.metrics["map"] > 0.9
    # Pitch needs no lyrics, love songs do.
    assert 0.5 < withheld.metrics["f1"] < with_lyrics.metrics["f1"]


def test_says_what_it_was_trained_on(checkpoint: Checkpoint, manifest: Path) -> None:
    description = checkpoint.description
    assert description.genres == read_library(manifest).genres
    assert description.data_set.tracks == {"train": 24, "valid": 12, "test": 12}
    assert description.data_set.synthetic


def test_the_correlations_are_those_of_the_training_split(checkpoint: Checkpoint, manifest: Path) -> None:
    library = read_library(manifest)
    tokenizer = Tokenizer.from_file(str(checkpoint.tokenizer_file))
    lyrics_model = LyricsModel(checkpoint.network.lyrics_encoder, tokenizer)
    nodes = name_embeddings(lyrics_model, [genre.name for genre in library.genres])
    expected = correlations(library.labels(library.of("train")), nodes)
    torch.testing.assert_close(torch.tensor(checkpoint.description.correlations), expected)


def test_the_best_epoch_is_kept(checkpoint_folder: Path, checkpoint: Checkpoint) -> None:
    lines = (checkpoint_folder / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + checkpoint.description.config.fit.epochs


def test_the_same_seed_gives_the_same_weights(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    short = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 2})})
    for name in ("one", "two"):
        fit(manifest, short, tmp_path / name, "tones", synthetic=True)
    one, two = (load_checkpoint(tmp_path / name).network.state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((tmp_path / "one" / "checkpoint.json").read_text()) == json.loads(
        (tmp_path / "two" / "checkpoint.json").read_text()
    )


def test_an_existing_folder_is_not_touched(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists"):
        fit(manifest, tiny, tmp_path / "out", "tones", synthetic=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_run_that_fails_leaves_nothing(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.fit._train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(manifest, tiny, tmp_path / "out", "tones", synthetic=True)
    assert not list(tmp_path.iterdir())
