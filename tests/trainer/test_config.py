"""Presets, and the one-line errors of wrong settings."""

import re

import pytest
from pydantic import BaseModel

from schemas.errors import ConfigError
from trainer.config import FitConfig, LittleBert, NetworkConfig, preset


def test_the_paper_preset_holds_what_the_paper_states() -> None:
    config = preset("paper")
    assert config.network.audio.sample_rate == 22_050
    assert config.network.audio.window_seconds == 30
    assert (config.network.hop, config.network.mels) == (512, 128)
    assert len(config.network.channels) == 5
    fit = config.fit
    assert (fit.learning_rate, fit.halve_every, fit.batch, fit.contrastive_weight) == (1e-4, 50, 16, 0.3)
    assert config.network.contrastive
    assert config.network.cross_attention
    assert config.network.genre_graph


@pytest.mark.parametrize("part", [NetworkConfig, FitConfig, LittleBert])
def test_descriptions_give_the_meaning_and_whether_it_is_stated_or_chosen(part: type[BaseModel]) -> None:
    for name, field in part.model_fields.items():
        assert field.description is not None, name
        assert re.match(r".+[.] (Stated|Chosen)[.:]", field.description), name


def test_overrides_replace_values_of_the_preset() -> None:
    config = preset("small", ["fit.epochs=3", "network.lyrics_model=models/bert", "network.width=64"])
    assert config.fit.epochs == 3
    assert config.network.lyrics_model == "models/bert"
    assert config.network.width == 64
    assert preset("small", ["network.lyrics_model.layers=1"]).network.lyrics_model == LittleBert(layers=1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.epochs", "key=value"),
        ("fit.epoch=3", "no setting fit.epoch"),
        ("epochs=3", "no setting epochs"),
        ("fit.epochs=0", "fit.epochs: Input should be greater than 0"),
        ("fit.epochs=many", "fit.epochs: Input should be a valid integer"),
        ("fit.contrastive_weight=1", "fit.contrastive_weight"),
        ("network.heads=3", "width must be a multiple of heads"),
        ("network.hop=500", "n_fft must be a multiple of hop"),
        ("network.mels=70", "mels must be a multiple of 32"),
        ("network.time_pooling=[9,9,9,9,9]", "time_pooling leaves nothing of the 216 frames of a window"),
        ('network.languages=["en-US"]', "network.languages.0: String should match pattern"),
        ("fit.seed=4294967296", "fit.seed: Input should be less than 4294967296"),
    ],
)
def test_wrong_settings_raise_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        preset("small", [override])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("n_fft", "hop"), [(2000, 500), (2048, 16), (1, 1)])
def test_sizes_that_the_frontend_does_not_support(n_fft: int, hop: int) -> None:
    overrides = [f"network.n_fft={n_fft}", f"network.hop={hop}"]
    with pytest.raises(
        ConfigError, match="n_fft and hop must be powers of two, hop at least √n_fft"
    ) as raised:
        preset("small", overrides)
    assert "\n" not in str(raised.value)
    # A pre-trained audio model has its own frontend.
    assert preset("small", [*overrides, "network.audio_model=some/ast"])
