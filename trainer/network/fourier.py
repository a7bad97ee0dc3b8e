"""The sizes of a Fourier transform in two steps; `trainer.network.frontend` says what they are for."""

import math


def fourier_steps(n_fft: int) -> tuple[int, int]:
    """a, a power of two, and b, both near √n_fft; a · b = n_fft where it can be done in two steps."""
    a = 2 ** math.ceil(math.log2(n_fft) / 2)
    return a, n_fft // a
