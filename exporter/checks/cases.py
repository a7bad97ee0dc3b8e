"""Inputs on which graphs are compared: every batch size, lyrics and sound that could tell them apart."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import INPUTS, AudioInput

BATCHES = (1, 2, 3, 7)
LARGEST_BATCH = 16
"""As many windows as a worker takes at once by default."""

Feed = dict[str, NDArray[np.float32] | NDArray[np.int64]]
"""The graph's inputs by name."""


def parity_cases(audio: AudioInput, max_tokens: int, vocabulary: int) -> Iterator[Feed]:
    """Noise and tones, quiet to full scale, and silence; lyrics of one token to the limit, and none."""
    chance = np.random.default_rng(0)
    lengths = sorted({1, 2, max_tokens // 2 + 1, max_tokens})
    for batch, tokens in (*product(BATCHES, (0, *lengths)), (LARGEST_BATCH, max_tokens)):
        ids, mask = _lyrics(chance, batch, tokens, vocabulary)
        yield _feed(sound(chance, batch, audio), ids, mask)
    # Windows of tracks: rows with the lyrics of the one before, or of one further back.
    lyrics_row = np.array([0, 0, 1, 1, 1, 0, 2])
    ids, mask = (part[lyrics_row] for part in _lyrics(chance, 3, max_tokens, vocabulary))
    yield _feed(sound(chance, len(lyrics_row), audio), ids, mask)
    ids, mask = _lyrics(chance, 3, max_tokens, vocabulary)
    silence, full_scale = np.zeros(audio.window_samples), chance.choice([-1.0, 1.0], audio.window_samples)
    yield _feed(np.stack([silence, full_scale, np.ones_like(silence)]), ids, mask)


def sound(chance: np.random.Generator, batch: int, audio: AudioInput) -> NDArray[np.float64]:
    """(batch, samples): tones in noise, at many levels."""
    time = np.arange(audio.window_samples) / audio.sample_rate
    hertz = 40 * 2 ** chance.uniform(0, 8, (batch, 1))
    loudness = 10 ** -chance.uniform(0, 4, (batch, 1))
    noise = chance.uniform(-1, 1, (batch, audio.window_samples))
    return np.asarray(loudness * (np.sin(2 * np.pi * hertz * time) + noise) / 2)


def _lyrics(
    chance: np.random.Generator, batch: int, tokens: int, vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask, padded to `tokens`, at least one: the first row fills it, others end sooner."""
    lengths = chance.integers(tokens + 1, size=(batch, 1))
    lengths[0] = tokens
    padded = max(tokens, 1)
    mask = (np.arange(padded) < lengths).astype(np.int64)
    return chance.integers(vocabulary, size=(batch, padded)) * mask, mask


def _feed(heard: NDArray[np.float64], ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Feed:
    return dict(zip(INPUTS, (heard.astype(np.float32), ids, mask), strict=True))
