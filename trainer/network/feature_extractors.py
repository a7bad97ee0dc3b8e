"""Feature extractors of transformers as torch modules that can be exported to ONNX.

A spectrum is computed as a product with one matrix. The steps of an extractor before the Fourier transform
are linear in a frame, and that matrix includes them. Frames are short, so the cost of the product is small
beside that of the network.
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
"""Frame length and hop of Kaldi, which the extractor of AST uses."""

PREEMPHASIS = 0.97
"""Coefficient of Kaldi's pre-emphasis."""

MIN_HERTZ = 20.0
"""Lowest frequency of Kaldi's mel bands."""

EncoderInputs = dict[str, Tensor]
"""Inputs of the encoder by the names of its arguments."""


def window_seconds(extractor: FeatureExtractionMixin) -> float | None:
    """Return the window length in seconds that an extractor requires; None if any length is possible.

    Raises AudioModelError if the extractor is not supported.
    """
    match extractor:
        case ASTFeatureExtractor():
            frame, shift = _frame_and_shift(extractor.sampling_rate)
            seconds: float = (frame + (extractor.max_length - 1) * shift) / extractor.sampling_rate
            return seconds
        case WhisperFeatureExtractor():
            return float(extractor.chunk_length)
        case Wav2Vec2FeatureExtractor():
            return None
    raise AudioModelError(
        f"{type(extractor).__name__} is not supported: choose a checkpoint with an AST, Wav2Vec2 or "
        "Whisper feature extractor"
    )


def rebuild_extractor(extractor: FeatureExtractionMixin) -> nn.Module:
    """Return a module that computes the outputs of `extractor`.

    Its input is a window (batch, samples), padded with zeros after the end of a short track.
    """
    match extractor:
        case ASTFeatureExtractor():
            return KaldiFbank(extractor)
        case WhisperFeatureExtractor():
            return WhisperLogMel(extractor)
        case Wav2Vec2FeatureExtractor():
            return RawWaveform(extractor)
    raise TypeError(type(extractor))


class KaldiFbank(nn.Module):
    """Extractor of AST: log-mel energies as in Kaldi (batch, frames, mels), 0 after the end of the track."""

    spectrum: Tensor
    mel: Tensor

    def __init__(self, extractor: ASTFeatureExtractor) -> None:
        super().__init__()
        rate, mels = extractor.sampling_rate, extractor.num_mel_bins
        self.frame, self.shift = _frame_and_shift(rate)
        self.frames = extractor.max_length
        self.mean: float = extractor.mean if extractor.do_normalize else 0.0
        self.scale: float = 2 * extractor.std if extractor.do_normalize else 1.0
        n_fft = 2 ** math.ceil(math.log2(self.frame))
        bank, _ = get_mel_banks(mels, n_fft, rate, MIN_HERTZ, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("spectrum", _kaldi_spectrum(self.frame, n_fft), persistent=False)
        self.register_buffer("mel", bank.T.to(torch.float32).contiguous(), persistent=False)

    def forward(self, waveform: Tensor) -> EncoderInputs:
        frames = _frames(waveform, self.frame, self.shift, self.frames)
        re, im = (frames @ self.spectrum).chunk(2, dim=-1)
        energies = (re * re + im * im) @ self.mel
        log_mel = energies.clamp(min=torch.finfo(torch.float32).eps).log()
        ends = _positions(frames.shape[1], waveform) * self.shift + self.frame - 1
        # After the end of a short track, log energies are 0: the extractor pads features, not samples.
        log_mel = torch.where((ends <= _last_sample(waveform))[..., None], log_mel, 0.0)
        padding = log_mel.new_zeros(waveform.shape[0], self.frames - frames.shape[1], log_mel.shape[2])
        return {"input_values": (torch.cat([log_mel, padding], dim=1) - self.mean) / self.scale}


class WhisperLogMel(nn.Module):
    """Extractor of Whisper: log10 mel power (batch, mels, frames), at least the window's maximum − 8."""

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

    def forward(self, waveform: Tensor) -> EncoderInputs:
        samples, half = waveform.shape[1], self.n_fft // 2
        before = waveform[:, 1 : half + 1].flip(-1)
        after = waveform[:, samples - half - 1 : samples - 1].flip(-1)
        padded = torch.cat([before, waveform, after], dim=-1)
        frames = _frames(padded, self.n_fft, self.hop, samples // self.hop)
        re, im = (frames @ self.spectrum).chunk(2, dim=-1)
        power = (re * re + im * im) @ self.mel
        log_mel = power.clamp(min=1e-10).log10()
        log_mel = torch.maximum(log_mel, log_mel.amax((1, 2), keepdim=True) - 8)
        return {"input_features": ((log_mel + 4) / 4).transpose(1, 2)}


class RawWaveform(nn.Module):
    """Extractor of Wav2Vec2: the waveform (batch, samples), normalised if the extractor normalises.

    If the extractor returns an attention mask, so does this module: 1 up to the end of the track. Otherwise
    the padding is part of the input.
    """

    def __init__(self, extractor: Wav2Vec2FeatureExtractor) -> None:
        super().__init__()
        self.is_normalised, self.has_mask = extractor.do_normalize, extractor.return_attention_mask

    def forward(self, waveform: Tensor) -> EncoderInputs:
        mask = _positions(waveform.shape[1], waveform) <= _last_sample(waveform) if self.has_mask else None
        if self.is_normalised:
            waveform = _normalise(waveform) if mask is None else _normalise_where(mask, waveform)
        return {"input_values": waveform} | ({} if mask is None else {"attention_mask": mask.to(torch.int64)})


def _normalise(waveform: Tensor) -> Tensor:
    """Return the waveform (batch, samples) with mean 0 and variance 1."""
    centred = waveform - waveform.mean(1, keepdim=True)
    return centred / ((centred * centred).mean(1, keepdim=True) + 1e-7).sqrt()


def _normalise_where(mask: Tensor, waveform: Tensor) -> Tensor:
    """Return the waveform with mean 0 and variance 1 where `mask` is true, and 0 elsewhere."""
    present = mask.to(waveform.dtype)
    count = present.sum(1, keepdim=True)
    centred = (waveform - (waveform * present).sum(1, keepdim=True) / count) * present
    return centred / ((centred * centred).sum(1, keepdim=True) / count + 1e-7).sqrt()


def _frame_and_shift(rate: int) -> tuple[int, int]:
    """Return the samples of a frame and of a shift, rounded as in Kaldi."""
    return int(rate * FRAME_SECONDS), int(rate * SHIFT_SECONDS)


def _kaldi_spectrum(frame: int, n_fft: int) -> Tensor:
    """Return the matrix (frame, n_fft) from a frame to its spectrum: real, then imaginary parts.

    It removes the mean and applies pre-emphasis, a Hann window and the DFT below half the sample rate.
    """
    centred = torch.eye(frame, dtype=torch.float64) - 1 / frame
    emphasised = torch.eye(frame, dtype=torch.float64)
    emphasised[torch.arange(frame - 1), torch.arange(1, frame)] = -PREEMPHASIS
    # The first sample has no predecessor to subtract. It has no effect, because the window is 0 there.
    window = torch.hann_window(frame, periodic=False, dtype=torch.float64)
    return (centred @ emphasised * window @ _fourier(frame, n_fft, n_fft // 2)).to(torch.float32)


def _fourier(frame: int, n_fft: int, frequencies: int) -> Tensor:
    """Return the DFT matrix (frame, 2 · frequencies) for frames padded to `n_fft`: real, imaginary parts."""
    turns = torch.outer(
        torch.arange(frame, dtype=torch.float64), torch.arange(frequencies, dtype=torch.float64)
    )
    angles = 2 * math.pi / n_fft * turns
    return torch.cat([angles.cos(), -angles.sin()], dim=1)


def _frames(waveform: Tensor, frame: int, shift: int, max_frames: int) -> Tensor:
    """Return at most `max_frames` complete frames (batch, frames, frame) of a waveform (batch, samples).

    Built of slices, because every ONNX runtime supports these.
    """
    count = min(max_frames, 1 + (waveform.shape[1] - frame) // shift)
    block = math.gcd(frame, shift)
    step, blocks_per_frame = shift // block, frame // block
    blocks = waveform[:, : ((count - 1) * step + blocks_per_frame) * block].unflatten(1, (-1, block))
    return torch.cat(
        [blocks[:, at : at + (count - 1) * step + 1 : step] for at in range(blocks_per_frame)], dim=2
    )


def _positions(count: int, waveform: Tensor) -> Tensor:
    """Return 0 … count − 1 as float32 (count,), on the device of the waveform."""
    return torch.arange(count, dtype=torch.float32, device=waveform.device)


def _last_sample(waveform: Tensor) -> Tensor:
    """Return the index (batch, 1) of the last sample that is not 0; in a silent window, of the last one."""
    last = torch.where(waveform != 0, _positions(waveform.shape[1], waveform), -1.0).amax(1, keepdim=True)
    return torch.where(last < 0, float(waveform.shape[1] - 1), last)
