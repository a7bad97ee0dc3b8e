"""The frontend: waveform to log-mel spectrogram, by matrix products only.

ONNX's STFT operator has no CUDA or TensorRT kernel, and a convolution with the DFT matrix is many times
slower than this method: the DFT of N = a · b samples in two steps (Cooley and Tukey, 1965). With n = b·i + j
and k = p + a·q,

    X[p + a·q] = Σ_j  W_b^(j·q) · Σ_i W_N^(j·p) W_a^(i·p) x[b·i + j],   W_m = exp(-2πi / m)

The inner sum is a product with one matrix for each j, which includes the twiddle factors and the window. The
outer sum is a product with the b-point DFT matrix. The signal is real, so p = 0 … a/2 with every q gives the
whole spectrum; the columns of the mel matrix are permuted to the order of these frequencies.
"""

import math

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from trainer.config import NetworkConfig, fourier_factors


class MelSpectrogram(nn.Module):
    """Waveform (batch, samples) to the power in each mel band (batch, mels, frames).

    Equals `torchaudio.transforms.MelSpectrogram(rate, n_fft, hop_length=hop, n_mels=mels)`: the waveform is
    reflected at both ends, and frames = 1 + samples // hop. `NetworkConfig` checks that `n_fft` and `hop` are
    supported.
    """

    inner: Tensor
    outer: Tensor
    mel: Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop: int, mels: int) -> None:
        super().__init__()
        a, b = fourier_factors(n_fft)
        self.n_fft, self.hop, self.b, self.phases = n_fft, hop, b, a // 2 + 1

        window = torch.hann_window(n_fft, dtype=torch.float64).reshape(a, b)
        i, j, p, q = (torch.arange(size, dtype=torch.float64) for size in (a, b, self.phases, b))
        # W_a^(i·p) · W_N^(j·p) = W_N^((b·i + j)·p)
        turns = 2 * math.pi / n_fft * p[:, None] * (b * i + j[:, None, None])
        # (re + i·im)(cos − i·sin) in real numbers. Rows: real parts for each q, then imaginary parts.
        angles = 2 * math.pi / b * torch.outer(q, j)
        by_re = torch.cat([angles.cos(), -angles.sin()])
        by_im = torch.cat([angles.sin(), angles.cos()])
        constants = {
            # (b, 2 · phases, a)
            "inner": window.T[:, None] * torch.cat([turns.cos(), -turns.sin()], dim=1),
            # (2 · b, 2 · b)
            "outer": torch.stack([by_re, by_im], dim=-1).flatten(1),
            "mel": self._mel_in_dft_order(sample_rate, n_fft, mels, a),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant.to(torch.float32).contiguous(), persistent=False)

    def _mel_in_dft_order(self, sample_rate: int, n_fft: int, mels: int, a: int) -> Tensor:
        """Return the filter bank (mels, b · phases) with a column for each (q, p).

        Columns of frequencies that occur twice are 0 the second time.
        """
        bank = melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate)
        ordered = torch.zeros(mels, self.b, self.phases)
        used = set()
        for q in range(self.b):
            for p in range(self.phases):
                k = p + a * q
                frequency = min(k, n_fft - k)
                if frequency not in used:
                    used.add(frequency)
                    ordered[:, q, p] = bank[frequency]
        return ordered.flatten(1)

    def forward(self, waveform: Tensor) -> Tensor:
        # Frames are the last axis throughout, so that no product needs a transposition.
        x = self.inner @ self._frames(waveform)
        x = self.outer @ x.unflatten(2, (2, self.phases)).flatten(3).flatten(1, 2)
        power = (x * x).unflatten(1, (2, self.b)).sum(1)
        mel: Tensor = self.mel @ power.unflatten(2, (self.phases, -1)).flatten(1, 2)
        return mel

    def _frames(self, waveform: Tensor) -> Tensor:
        """Return the frames of a waveform (batch, b, a, frames), with sample b·i + j of a frame at [j, i]."""
        samples = waveform.shape[-1]
        half = self.n_fft // 2
        before = waveform[:, 1 : half + 1].flip(-1)
        after = waveform[:, samples - half - 1 : samples - 1].flip(-1)
        padded = torch.cat([before, waveform, after], dim=-1)
        per_frame = self.n_fft // self.hop
        frames = 1 + samples // self.hop
        hops = frames + per_frame - 1
        # Transposed before the overlapping frames copy each sample several times, and in two steps, because
        # runtimes are fast only at moving one axis.
        blocks = padded[:, : hops * self.hop].unflatten(-1, (hops, self.hop)).transpose(1, 2)
        blocks = blocks.unflatten(1, (self.hop // self.b, self.b)).transpose(1, 2)
        return torch.cat([blocks[..., start : start + frames] for start in range(per_frame)], dim=2)


class LogMel(nn.Module):
    """Waveform (batch, samples) to log10(1 + gain · mel) (batch, mels, frames)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.mel = MelSpectrogram(config.audio.sample_rate, config.n_fft, config.hop, config.mels)
        self.gain = config.log_gain

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.log10(1 + self.gain * self.mel(waveform))
