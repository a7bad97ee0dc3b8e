"""Inputs on which graphs are compared: various batch sizes, lyrics and levels of audio."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import INPUTS, AudioInput

BATCHES = (1, 2, 3, 7)
"""Numbers of windows in a batch."""
MAX_BATCH_WINDOWS = 16
"""Default batch size of a worker."""

Feed = dict[str, NDArray[np.float32] | NDArray[np.int64]]
"""The graph's inputs by name."""


def parity_cases(audio: AudioInput, max_tokens: int, vocabulary: int) -> Iterator[Feed]:
    """Yield inputs: noise and tones, quiet to full scale, and silence; lyrics of 0 to `max_tokens` tokens."""
    rng = np.random.default_rng(0)
    lengths = sorted({1, 2, max_tokens // 2 + 1, max_tokens})
    for batch, tokens in (*product(BATCHES, (0, *lengths)), (MAX_BATCH_WINDOWS, max_tokens)):
        ids, mask = _lyrics(rng, batch, tokens, vocabulary)
        yield _feed(noisy_tones(rng, batch, audio), ids, mask)
    # Windows of several tracks: rows with the lyrics of the previous row, or of an earlier one.
    lyrics_row = np.array([0, 0, 1, 1, 1, 0, 2])
    ids, mask = (part[lyrics_row] for part in _lyrics(rng, 3, max_tokens, vocabulary))
    yield _feed(noisy_tones(rng, len(lyrics_row), audio), ids, mask)
    ids, mask = _lyrics(rng, 3, max_tokens, vocabulary)
    silence, full_scale = np.zeros(audio.window_samples), rng.choice([-1.0, 1.0], audio.window_samples)
    yield _feed(np.stack([silence, full_scale, np.ones_like(silence)]), ids, mask)


def noisy_tones(rng: np.random.Generator, batch: int, audio: AudioInput) -> NDArray[np.float64]:
    """Return tones in noise at random levels, (batch, samples), full scale = ±1."""
    time = np.arange(audio.window_samples) / audio.sample_rate
    hertz = 40 * 2 ** rng.uniform(0, 8, (batch, 1))
    loudness = 10 ** -rng.uniform(0, 4, (batch, 1))
    noise = rng.uniform(-1, 1, (batch, audio.window_samples))
    return np.asarray(loudness * (np.sin(2 * np.pi * hertz * time) + noise) / 2)


def _lyrics(
    rng: np.random.Generator, batch: int, tokens: int, vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask (batch, max(tokens, 1)). The first row has all `tokens`, the others fewer."""
    lengths = rng.integers(tokens + 1, size=(batch, 1))
    lengths[0] = tokens
    padded = max(tokens, 1)
    mask = (np.arange(padded) < lengths).astype(np.int64)
    return rng.integers(vocabulary, size=(batch, padded)) * mask, mask


def _feed(waveform: NDArray[np.float64], ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Feed:
    return dict(zip(INPUTS, (waveform.astype(np.float32), ids, mask), strict=True))
