"""Pre-trained encoders: configured by name, fine-tuned or frozen, and saved in a checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from schemas.bundle import AudioInput
from schemas.errors import ConfigError
from tests.exporter.adopt.checkpoints import ast, wav2vec2, whisper
from tests.trainer.conftest import TINY
from trainer.checkpoint import load_checkpoint
from trainer.config import LittleBert, TrainingConfig, preset
from trainer.data.read import read_library
from trainer.errors import AudioModelError
from trainer.features.prepare import load_or_train_lyrics_model
from trainer.fit.run import fit
from trainer.network.audio_model import PretrainedEncoder, load_audio_model
from trainer.network.lyrics_model import load_lyrics_model

AUDIO_MODELS: dict[str, tuple[Callable[[Path], str], float]] = {
    "ast": (lambda folder: ast(folder, max_length=98), 0.995),
    "wav2vec2": (lambda folder: wav2vec2(folder, masked=False), 1.0),
    "wav2vec2, masked": (lambda folder: wav2vec2(folder, masked=True), 1.0),
    "whisper": (whisper, 2.0),
}
"""For each kind: a function that writes a model to a folder, and the model's window in seconds."""


def audio_input(seconds: float, sample_rate: int = 16_000) -> AudioInput:
    return AudioInput(sample_rate=sample_rate, window_seconds=seconds, windows=2, picking="spread")


def configured(**network: object) -> TrainingConfig:
    """Return the settings `TINY` with two epochs and the given settings of the network."""
    raw = TINY.model_dump()
    raw["network"] |= network
    raw["fit"] |= {"epochs": 2, "encoder_learning_rate": 1e-3}
    return TrainingConfig.model_validate(raw)


def have_equal_weights(one: nn.Module, other: nn.Module) -> bool:
    others = dict(other.named_parameters())
    return all(torch.equal(weight, others[name]) for name, weight in one.named_parameters())


@pytest.mark.parametrize("kind", AUDIO_MODELS)
@pytest.mark.parametrize("frozen", [False, True], ids=["fine-tuned", "frozen"])
def test_an_audio_model_replaces_the_convolutional_blocks(
    kind: str, frozen: bool, manifest: Path, tmp_path: Path
) -> None:
    write, seconds = AUDIO_MODELS[kind]
    name, audio = write(tmp_path / "pretrained"), audio_input(seconds)
    config = configured(audio_model=name, audio=audio, audio_frozen=frozen)
    fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    network = load_checkpoint(tmp_path / "out").network
    assert isinstance(network.audio_encoder, PretrainedEncoder)
    assert have_equal_weights(network.audio_encoder.encoder, load_audio_model(name, audio).encoder) == frozen


def test_a_lyrics_encoder_is_fine_tuned_unless_it_is_frozen(manifest: Path, tmp_path: Path) -> None:
    bert = tmp_path / "bert"
    load_or_train_lyrics_model(read_library(manifest), TINY, bert)
    for frozen in (True, False):
        config = configured(lyrics_model=str(bert), lyrics_frozen=frozen)
        out = tmp_path / f"frozen-{frozen}"
        fit(manifest, config, out, "tones", synthetic=True)
        trained = load_checkpoint(out).network.lyrics_encoder
        assert have_equal_weights(trained, load_lyrics_model(str(bert), 12).encoder) == frozen


def test_a_small_bert_can_be_fine_tuned(manifest: Path, tmp_path: Path) -> None:
    config = configured(lyrics_frozen=False)
    assert isinstance(config.network.lyrics_model, LittleBert)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 12, "mixup": 0.1})})
    found = fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    assert found.measurements[0].metrics["map"] > 0.9


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (audio_input(0.995, sample_rate=8_000), r"set network\.audio\.sample_rate=16000"),
        (audio_input(1), r"set network\.audio\.window_seconds=0\.995"),
    ],
)
def test_the_error_names_the_input_that_the_model_needs(
    audio: AudioInput, message: str, tmp_path: Path
) -> None:
    name = ast(tmp_path / "ast", max_length=98)
    with pytest.raises(AudioModelError, match=message):
        load_audio_model(name, audio)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioModelError, match=r"audio model .* cannot be loaded .*set network\.audio_model"):
        load_audio_model(str(tmp_path), audio_input(1))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.audio_frozen=true"], "audio_frozen needs an audio_model"),
        (["network.audio_model=some/ast", "fit.masked_bands=2"], "masked_bands and masked_frames"),
    ],
)
def test_inconsistent_settings_are_refused(overrides: list[str], message: str) -> None:
    # Settings are checked together, after all overrides.
    with pytest.raises(ConfigError, match=message):
        preset("small", overrides)
