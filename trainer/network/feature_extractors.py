"""The feature extractors of transformers, rebuilt as modules that a graph can hold.

A spectrum is a product with a matrix: what an extractor does to a frame before its Fourier transform is
linear, and goes into that matrix. For these short frames the matrix costs little beside the network.
"""

import math

import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks
from transformers import (
    ASTFeatureExtractor,
    FeatureExtractionMixin,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from trainer.errors import AudioModelError

FRAME_SECONDS, SHIFT_SECONDS = 0.025, 0.01
"""Kaldi's, which AST's extractor does not change."""

PREEMPHASIS = 0.97
"""Kaldi's."""

LOWEST_HERTZ = 20.0
"""Kaldi's lower end of the mel scale."""

Features = dict[str, Tensor]
"""What the network is called with, by name."""


def hears(extractor: FeatureExtractionMixin) -> float | None:
    """Seconds that the extractor takes at once; None where any length. Raises AudioModelError."""
    match extractor:
        case ASTFeatureExtractor():
            frame, shift = _samples(extractor.sampling_rate)
            seconds: float = (frame + (extractor.max_length - 1) * shift) / extractor.sampling_rate
            return seconds
        case WhisperFeatureExtractor():
            return float(extractor.chunk_length)
        case Wav2Vec2FeatureExtractor():
            return None
    raise AudioModelError(
        f"{type(extractor).__name__} is not rebuilt here: choose a checkpoint with an AST, Wav2Vec2 or "
        "Whisper feature extractor"
    )


def rebuilt(extractor: FeatureExtractionMixin) -> nn.Module:
    """A module from a window (batch, samples), zeros after the end of a short track, to `Features`."""
    match extractor:
        case ASTFeatureExtractor():
            return KaldiFbank(extractor)
        case WhisperFeatureExtractor():
            return WhisperLogMel(extractor)
        case Wav2Vec2FeatureExtractor():
            return RawWaveform(extractor)
    raise TypeError(type(extractor))


class KaldiFbank(nn.Module):
    """AST's: log mel energies of Kaldi's frames, (batch, frames, mels), zeros after the track's end."""

    spectrum: Tensor
    mel: Tensor

    def __init__(self, extractor: ASTFeatureExtractor) -> None:
        super().__init__()
        rate, mels = extractor.sampling_rate, extractor.num_mel_bins
        self.frame, self.shift = _samples(rate)
        self.frames = extractor.max_length
        self.mean: float = extractor.mean if extractor.do_normalize else 0.0
        self.scale: float = 2 * extractor.std if extractor.do_normalize else 1.0
        n_fft = 2 ** math.ceil(math.log2(self.frame))
        bank, _ = get_mel_banks(mels, n_fft, rate, LOWEST_HERTZ, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("spectrum", _kaldi_spectrum(self.frame, n_fft), persistent=False)
        self.register_buffer("mel", bank.T.to(torch.float32).contiguous(), persistent=False)

    def forward(self, waveform: Tensor) -> Features:
        frames = _framed(waveform, self.frame, self.shift, self.frames)
        re, im = (frames @ self.spectrum).chunk(2, dim=-1)
        energies = (re * re + im * im) @ self.mel
        log_mel = energies.clamp(min=torch.finfo(torch.float32).eps).log()
        ends = _positions(frames.shape[1], waveform) * self.shift + self.frame - 1
        # What pads a short track is zero in the log domain: the extractor pads features, not sound.
        log_mel = torch.where((ends <= _last_sample(waveform))[..., None], log_mel, 0.0)
        padding = log_mel.new_zeros(waveform.shape[0], self.frames - frames.shape[1], log_mel.shape[2])
        return {"input_values": (torch.cat([log_mel, padding], dim=1) - self.mean) / self.scale}


class WhisperLogMel(nn.Module):
    """Whisper's: log10 mel power (batch, mels, frames), no more than 8 below the window's loudest."""

    spectrum: Tensor
    mel: Tensor

    def __init__(self, extractor: WhisperFeatureExtractor) -> None:
        super().__init__()
        self.n_fft, self.hop = extractor.n_fft, extractor.hop_length
        window = torch.hann_window(self.n_fft, dtype=torch.float64)
        spectrum = window[:, None] * _fourier(self.n_fft, self.n_fft, self.n_fft // 2 + 1)
        self.register_buffer("spectrum", spectrum.to(torch.float32), persistent=False)
        bank = torch.as_tensor(extractor.mel_filters, dtype=torch.float32)
        self.register_buffer("mel", bank, persistent=False)

    def forward(self, waveform: Tensor) -> Features:
        samples, half = waveform.shape[1], self.n_fft // 2
        before = waveform[:, 1 : half + 1].flip(-1)
        after = waveform[:, samples - half - 1 : samples - 1].flip(-1)
        padded = torch.cat([before, waveform, after], dim=-1)
        frames = _framed(padded, self.n_fft, self.hop, samples // self.hop)
        re, im = (frames @ self.spectrum).chunk(2, dim=-1)
        power = (re * re + im * im) @ self.mel
        log_mel = power.clamp(min=1e-10).log10()
        log_mel = torch.maximum(log_mel, log_mel.amax((1, 2), keepdim=True) - 8)
        return {"input_features": ((log_mel + 4) / 4).transpose(1, 2)}


class RawWaveform(nn.Module):
    """Wav2Vec2's: the waveform, at mean 0 and variance 1 where the extractor says so.

    Networks that were trained with an attention mask get one that ends with the track; others hear the zeros.
    """

    def __init__(self, extractor: Wav2Vec2FeatureExtractor) -> None:
        super().__init__()
        self.normalise, self.masked = extractor.do_normalize, extractor.return_attention_mask

    def forward(self, waveform: Tensor) -> Features:
        mask = _positions(waveform.shape[1], waveform) <= _last_sample(waveform) if self.masked else None
        if self.normalise:
            waveform = _normalised(waveform) if mask is None else _normalised_where(mask, waveform)
        return {"input_values": waveform} | ({} if mask is None else {"attention_mask": mask.to(torch.int64)})


def _normalised(waveform: Tensor) -> Tensor:
    centred = waveform - waveform.mean(1, keepdim=True)
    return centred / ((centred * centred).mean(1, keepdim=True) + 1e-7).sqrt()


def _normalised_where(mask: Tensor, waveform: Tensor) -> Tensor:
    """By what is heard, and zero elsewhere."""
    heard = mask.to(waveform.dtype)
    count = heard.sum(1, keepdim=True)
    centred = (waveform - (waveform * heard).sum(1, keepdim=True) / count) * heard
    return centred / ((centred * centred).sum(1, keepdim=True) / count + 1e-7).sqrt()


def _samples(rate: int) -> tuple[int, int]:
    """Of a frame and of a shift, as Kaldi rounds them."""
    return int(rate * FRAME_SECONDS), int(rate * SHIFT_SECONDS)


def _kaldi_spectrum(frame: int, n_fft: int) -> Tensor:
    """(frame, 2 · n_fft/2): mean removed, pre-emphasised, Hanning window, DFT below half the rate; re, im."""
    centred = torch.eye(frame, dtype=torch.float64) - 1 / frame
    emphasised = torch.eye(frame, dtype=torch.float64)
    emphasised[torch.arange(frame - 1), torch.arange(1, frame)] = -PREEMPHASIS
    # The first sample has none before it, and does not count: the window is zero there.
    window = torch.hann_window(frame, periodic=False, dtype=torch.float64)
    return (centred @ emphasised * window @ _fourier(frame, n_fft, n_fft // 2)).to(torch.float32)


def _fourier(frame: int, n_fft: int, frequencies: int) -> Tensor:
    """(frame, 2 · frequencies): real, then imaginary parts of the DFT of a frame padded to `n_fft`."""
    turns = torch.outer(
        torch.arange(frame, dtype=torch.float64), torch.arange(frequencies, dtype=torch.float64)
    )
    angles = 2 * math.pi / n_fft * turns
    return torch.cat([angles.cos(), -angles.sin()], dim=1)


def _framed(waveform: Tensor, frame: int, shift: int, most: int) -> Tensor:
    """(batch, frames, frame): the frames that fit whole, `most` at most. Of slices: they run everywhere."""
    count = min(most, 1 + (waveform.shape[1] - frame) // shift)
    block = math.gcd(frame, shift)
    step, wide = shift // block, frame // block
    blocks = waveform[:, : ((count - 1) * step + wide) * block].unflatten(1, (-1, block))
    return torch.cat([blocks[:, at : at + (count - 1) * step + 1 : step] for at in range(wide)], dim=2)


def _positions(count: int, waveform: Tensor) -> Tensor:
    """0 … count - 1, where the waveform is."""
    return torch.arange(count, dtype=torch.float32, device=waveform.device)


def _last_sample(waveform: Tensor) -> Tensor:
    """(batch, 1): position of the last sample that is not zero; of a silent window the last of all."""
    last = torch.where(waveform != 0, _positions(waveform.shape[1], waveform), -1.0).amax(1, keepdim=True)
    return torch.where(last < 0, float(waveform.shape[1] - 1), last)
