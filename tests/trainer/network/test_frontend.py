"""The two-step DFT gives the same spectrograms as torchaudio."""

import pytest
import torch
import torchaudio

from trainer.config import preset
from trainer.network.frontend import LogMel, MelSpectrogram


@pytest.mark.parametrize(
    ("rate", "n_fft", "hop", "mels", "samples"),
    [
        (22_050, 2048, 512, 128, 22_050),
        (22_050, 2048, 512, 128, 30_001),
        (22_050, 2048, 1024, 64, 22_050),
        (16_000, 1024, 256, 40, 16_000),
        (8_000, 512, 512, 32, 5_120),
    ],
)
def test_equals_torchaudio(rate: int, n_fft: int, hop: int, mels: int, samples: int) -> None:
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    theirs = torchaudio.transforms.MelSpectrogram(rate, n_fft, hop_length=hop, n_mels=mels)(waveform)
    ours = MelSpectrogram(rate, n_fft, hop, mels)(waveform)
    assert ours.shape == theirs.shape == (2, mels, 1 + samples // hop)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.max()))


def test_a_tone_has_its_maximum_in_its_mel_band() -> None:
    rate = 22_050
    tone = torch.sin(2 * torch.pi * 1_000 * torch.arange(rate) / rate)[None]
    band = MelSpectrogram(rate, 2048, 512, 128)(tone)[0, :, 20].argmax()
    bank = torchaudio.functional.melscale_fbanks(1025, 0.0, rate / 2, 128, rate)
    assert bank[round(1_000 / (rate / 2048)), band] > 0


def test_silence_is_zero_and_a_louder_signal_has_higher_values() -> None:
    config = preset("small").network
    log_mel = LogMel(config)
    samples = config.audio.window_samples
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    quiet, loud = log_mel(0.01 * noise), log_mel(noise)
    assert not log_mel(torch.zeros(1, samples)).any()
    assert (loud > quiet).all()
