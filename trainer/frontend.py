"""Waveform to log-mel spectrogram, in matrix products only.

ONNX's STFT has no CUDA or TensorRT kernel, and a convolution by the DFT matrix is four times as slow as
this: the DFT of N = a · b samples in two steps (Cooley and Tukey, 1965). With n = b·i + j and k = p + a·q,

    X[p + a·q] = Σ_j  W_b^(j·q) · ( W_N^(j·p) · Σ_i W_a^(i·p) x[b·i + j] ),   W_m = exp(-2πi / m)

a product with an a-point DFT matrix, a multiplication by twiddle factors, a product with a b-point one.
The signal is real, so p = 0 … a/2 with every q covers the spectrum, in an order that the mel matrix absorbs.
"""

import math

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from trainer.config import NetworkConfig

LOG_GAIN = 10_000.0
"""The power is scaled as log10(1 + gain · mel): no floor to tune, and silence is zero. Musicnn's choice."""


class MelSpectrogram(nn.Module):
    """(batch, samples) to (batch, mels, frames): the power in each mel band, reflected at both ends.

    Equals `torchaudio.transforms.MelSpectrogram(rate, n_fft, hop_length=hop, n_mels=mels)`;
    frames = 1 + samples // hop.
    """

    window: Tensor
    rows: Tensor
    twiddle_cos: Tensor
    twiddle_sin: Tensor
    columns: Tensor
    mel: Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop: int, mels: int) -> None:
        super().__init__()
        a = 2 ** (int(math.log2(n_fft)) // 2)
        b = n_fft // a
        if a < 2 or a * b != n_fft or n_fft % hop or hop % b:
            raise ValueError(f"n_fft {n_fft} and hop {hop}: powers of two are needed, hop at least √n_fft")
        self.n_fft, self.hop, self.b, self.phases = n_fft, hop, b, a // 2 + 1

        i, j = torch.arange(a, dtype=torch.float64), torch.arange(b, dtype=torch.float64)
        p, q = torch.arange(self.phases, dtype=torch.float64), torch.arange(b, dtype=torch.float64)
        rows = 2 * math.pi / a * torch.outer(i, p)
        twiddle = 2 * math.pi / n_fft * torch.outer(j, p)
        columns = 2 * math.pi / b * torch.outer(j, q)
        cos, sin = columns.cos(), columns.sin()
        # (re + i·im)(cos − i·sin), with re and im side by side.
        by_columns = torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)])

        window = torch.hann_window(n_fft, dtype=torch.float64).reshape(a, b).T
        constants = {
            "window": window,
            "rows": torch.cat([rows.cos(), -rows.sin()], dim=1),
            "twiddle_cos": twiddle.cos(),
            "twiddle_sin": twiddle.sin(),
            "columns": by_columns,
            "mel": self._mel_in_dft_order(sample_rate, n_fft, mels, a),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant.to(torch.float32).contiguous(), persistent=False)

    def _mel_in_dft_order(self, sample_rate: int, n_fft: int, mels: int, a: int) -> Tensor:
        """(phases · b, mels): the filter bank's row of each (p, q). No frequency counts twice."""
        bank = melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate)
        ordered = torch.zeros(self.phases * self.b, mels)
        seen = set()
        for p in range(self.phases):
            for q in range(self.b):
                k = p + a * q
                frequency = min(k, n_fft - k)
                if frequency not in seen:
                    seen.add(frequency)
                    ordered[p * self.b + q] = bank[frequency]
        return ordered

    def forward(self, waveform: Tensor) -> Tensor:
        x = self._frames(waveform) * self.window
        re, im = (x @ self.rows).split(self.phases, dim=-1)
        twiddled = torch.cat(
            [
                re * self.twiddle_cos + im * self.twiddle_sin,
                im * self.twiddle_cos - re * self.twiddle_sin,
            ],
            dim=-2,
        )
        re, im = (twiddled.transpose(-1, -2) @ self.columns).split(self.b, dim=-1)
        power = re * re + im * im
        mel: Tensor = power.flatten(-2) @ self.mel
        return mel.transpose(-1, -2)

    def _frames(self, waveform: Tensor) -> Tensor:
        """(batch, frames, b, a): sample b·i + j of a frame at [j, i]."""
        samples = waveform.shape[-1]
        half = self.n_fft // 2
        before = waveform[:, 1 : half + 1].flip(-1)
        after = waveform[:, samples - half - 1 : samples - 1].flip(-1)
        padded = torch.cat([before, waveform, after], dim=-1)
        per_frame = self.n_fft // self.hop
        frames = 1 + samples // self.hop
        hops = frames + per_frame - 1
        # Transposed while samples still lie once in memory, not once a frame.
        blocks = padded[:, : hops * self.hop].reshape(-1, hops, self.hop // self.b, self.b).transpose(-1, -2)
        return torch.cat([blocks[:, start : start + frames] for start in range(per_frame)], dim=-1)


class LogMel(nn.Module):
    """(batch, samples) to (batch, mels, frames), log10(1 + 10 000 · mel)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.mel = MelSpectrogram(config.audio.sample_rate, config.n_fft, config.hop, config.mels)

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.log10(1 + LOG_GAIN * self.mel(waveform))
