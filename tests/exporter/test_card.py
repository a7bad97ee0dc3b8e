"""The model card: metrics, training data, limits."""

from pathlib import Path

import pytest

from exporter.card import model_card
from schemas.bundle import read_bundle
from trainer.checkpoint import Checkpoint


def test_states_both_measurements(bundle_folder: Path) -> None:
    card = (bundle_folder / "README.md").read_text()
    assert "| tones, test | 2 | 0.500 | 0.625 | 0.750 |" in card
    assert "| tones, test, lyrics dropped | 2 | 0.250 | 0.375 | 0.500 |" in card
    assert "tones: 4 train, 2 valid, 2 test tracks." in card
    assert "| Techno | `techno` | `electronic` | 0.500 |" in card


def test_warns_of_synthetic_training_data(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    sentence = "It was trained only on synthetic music"
    assert sentence in (bundle_folder / "README.md").read_text()
    real = checkpoint.description.data_set.model_copy(update={"synthetic": False})
    description = checkpoint.description.model_copy(update={"data_set": real})
    assert sentence not in model_card(read_bundle(bundle_folder), description)


def card_with(bundle_folder: Path, checkpoint: Checkpoint, **changes: object) -> str:
    """Return the card of the same model with another configuration."""
    config = checkpoint.description.config
    network = config.network.model_copy(update=changes)
    description = checkpoint.description.model_copy(
        update={"config": config.model_copy(update={"network": network})}
    )
    return model_card(read_bundle(bundle_folder), description)


@pytest.mark.parametrize("lyrics", [True, False])
def test_states_whether_lyrics_are_used(bundle_folder: Path, checkpoint: Checkpoint, lyrics: bool) -> None:
    card = card_with(bundle_folder, checkpoint, lyrics=lyrics)
    assert ("from its audio and its lyrics." in card) == lyrics
    assert (
        "It encodes the first 40 tokens of the lyrics with a small BERT trained from scratch." in card
    ) == lyrics
    assert ("A track without lyrics is labelled" in card) == lyrics
    assert ("It does not use lyrics." in card) != lyrics


def test_names_the_audio_model(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    assert "8000 Hz, mono. It encodes" in card_with(bundle_folder, checkpoint)
    card = card_with(bundle_folder, checkpoint, audio_model="some/ast")
    assert "8000 Hz, mono with `some/ast`. It encodes" in card
