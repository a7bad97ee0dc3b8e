"""The model card says what the numbers are and what the model has not heard."""

from pathlib import Path

from exporter.card import model_card
from schemas.bundle import read_bundle
from trainer.checkpoint import Checkpoint


def test_states_both_measurements(bundle_folder: Path) -> None:
    card = (bundle_folder / "README.md").read_text()
    assert "| tones, test | 2 | 0.500 | 0.625 | 0.750 |" in card
    assert "| tones, test, lyrics withheld | 2 | 0.250 | 0.375 | 0.500 |" in card
    assert "tones: 4 train, 2 valid, 2 test tracks." in card
    assert "| Techno | `techno` | `electronic` | 0.500 |" in card


def test_says_that_it_only_heard_synthetic_music(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    sentence = "It has only ever heard synthetic music"
    assert sentence in (bundle_folder / "README.md").read_text()
    real = checkpoint.description.data_set.model_copy(update={"synthetic": False})
    description = checkpoint.description.model_copy(update={"data_set": real})
    assert sentence not in model_card(read_bundle(bundle_folder), description)
