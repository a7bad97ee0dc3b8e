"""Feature extractors as torch modules give the same outputs as those of transformers."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    ASTFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from media.decode import decode_windows
from schemas.bundle import AudioInput
from tests.conftest import SHARED
from trainer.errors import AudioModelError
from trainer.network.feature_extractors import rebuild_extractor, window_seconds

RATE = 16_000
RECORDINGS = sorted((SHARED / "audio").glob("*.ogg"))

EXTRACTORS: dict[str, Any] = {
    "ast": ASTFeatureExtractor(max_length=256),
    "ast, not normalised, fewer mels": ASTFeatureExtractor(
        max_length=256, do_normalize=False, num_mel_bins=64
    ),
    "ast, other statistics": ASTFeatureExtractor(max_length=100, mean=-1.0, std=2.0),
    "wav2vec2": Wav2Vec2FeatureExtractor(),
    "wav2vec2, masked": Wav2Vec2FeatureExtractor(return_attention_mask=True),
    "wav2vec2, raw": Wav2Vec2FeatureExtractor(do_normalize=False),
    "whisper": WhisperFeatureExtractor(chunk_length=3),
    "whisper, more mels": WhisperFeatureExtractor(chunk_length=3, feature_size=128),
}

LAST_FRAME_SHORT_BY_ONE = 50 * 160 + 399
"""Samples of a track. With one sample more, the extractor of AST would return one frame more."""

Windows = NDArray[np.float32]


def make_waveforms(samples: int) -> dict[str, Windows]:
    chance = np.random.default_rng(0)
    noise = chance.uniform(-1, 1, samples)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / RATE)
    short = np.where(np.arange(samples) < LAST_FRAME_SHORT_BY_ONE, noise, 0)
    found = {"noise": noise, "quiet": 1e-4 * noise, "tone": tone, "short": short, "offset": tone + 0.4}
    return {name: wave.astype(np.float32) for name, wave in found.items()}


def transformers_outputs(extractor: Any, wave: Windows) -> dict[str, torch.Tensor]:
    without_padding = wave[: np.flatnonzero(wave)[-1] + 1]
    options = {"sampling_rate": RATE, "return_tensors": "pt"}
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        options |= {"padding": "max_length", "max_length": len(wave)}
    return dict(extractor(without_padding, **options))


def assert_equal_outputs(extractor: Any, wave: Windows) -> None:
    expected = transformers_outputs(extractor, wave)
    actual = rebuild_extractor(extractor)(torch.from_numpy(wave)[None])
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        np.testing.assert_allclose(tensor.numpy(), expected[name].numpy(), atol=2e-3, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("kind", EXTRACTORS)
@pytest.mark.parametrize("sound", make_waveforms(1))
def test_generated_waveforms(kind: str, sound: str) -> None:
    extractor = EXTRACTORS[kind]
    seconds = min(3.0, window_seconds(extractor) or 3.0)
    assert_equal_outputs(extractor, make_waveforms(round(seconds * RATE))[sound])


@pytest.mark.parametrize("kind", EXTRACTORS)
@pytest.mark.skipif(not RECORDINGS, reason=f"no recordings in {SHARED / 'audio'}")
def test_recordings(kind: str) -> None:
    extractor = EXTRACTORS[kind]
    seconds = min(3.0, window_seconds(extractor) or 3.0)
    audio = AudioInput(sample_rate=RATE, window_seconds=seconds, windows=2, picking="spread")
    for recording in RECORDINGS:
        for window in decode_windows(recording.read_bytes(), audio).windows:
            assert_equal_outputs(extractor, window)


@pytest.mark.parametrize("kind", EXTRACTORS)
def test_outputs_are_on_the_device_of_the_waveform(kind: str) -> None:
    # The device "meta" needs no GPU, and mixing it with the CPU raises an error too.
    waveform = torch.zeros(2, RATE, device="meta")
    for tensor in rebuild_extractor(EXTRACTORS[kind]).to("meta")(waveform).values():
        assert tensor.device == waveform.device


def test_the_window_length_is_that_of_the_extractor() -> None:
    assert window_seconds(ASTFeatureExtractor()) == 10.255
    assert window_seconds(WhisperFeatureExtractor()) == 30
    assert window_seconds(Wav2Vec2FeatureExtractor()) is None


def test_a_silent_window_has_no_padding() -> None:
    silence = torch.zeros(1, 2 * RATE)
    expected = ASTFeatureExtractor(max_length=198)(np.zeros(2 * RATE, np.float32), sampling_rate=RATE)
    actual = rebuild_extractor(ASTFeatureExtractor(max_length=198))(silence)["input_values"]
    np.testing.assert_allclose(actual[0].numpy(), expected["input_values"][0], atol=1e-4)


def test_an_unsupported_extractor_is_refused() -> None:
    with pytest.raises(AudioModelError, match="SeamlessM4TFeatureExtractor is not supported"):
        window_seconds(SeamlessM4TFeatureExtractor())
