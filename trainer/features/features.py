"""Features of a split, and the data sets that training draws examples from."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from trainer.data.track import Track


@dataclass(frozen=True)
class Features:
    """Features of a split. W = windows of all tracks, N = tracks, T = tokens, H = hidden size of the encoder.

    The arrays are memory-mapped files in half precision, which is enough for spectrograms, so that a library
    may be larger than the memory.
    """

    log_mels: NDArray[np.float16]
    """(W, mels, frames); with an `audio_model`, the output of its feature extractor for each window."""
    track_row: NDArray[np.int64]
    """(W,), ascending: row of the track that each window belongs to, 0 to N − 1."""
    lyrics: NDArray[np.float16] | NDArray[np.int32]
    """(N, T, H) hidden states of a frozen lyrics encoder; otherwise (N, T) token ids."""
    mask: NDArray[np.bool_]
    """(N, T), true at tokens."""
    labels: Tensor
    """(N, genres) of 0 and 1."""
    tracks: tuple[Track, ...]
    digests: tuple[str, ...]
    """SHA-256 of each track's encoded audio."""
    left_out: tuple[str, ...]
    """Name of the error of each track of the split that was left out."""

    def __len__(self) -> int:
        return len(self.labels)


Example = tuple[Tensor, Tensor, Tensor, Tensor]
"""log-mel (mels, frames), hidden states (T, H) or token ids (T,), mask (T,), labels (genres,)."""


class Windows(Dataset[Example]):
    """All windows of a split, as examples."""

    def __init__(self, features: Features) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features.track_row)

    def __getitem__(self, window: int) -> Example:
        features = self.features
        track = features.track_row[window]
        lyrics = features.lyrics[track]
        return (
            torch.from_numpy(features.log_mels[window].astype(np.float32)),
            torch.from_numpy(lyrics.astype(np.float32 if lyrics.ndim == 2 else np.int64)),
            torch.from_numpy(features.mask[track]),
            features.labels[track],
        )


class RandomWindows(Dataset[Example]):
    """One example for each track: a window that is drawn again at each access."""

    def __init__(self, features: Features) -> None:
        self.windows = Windows(features)
        self.bounds = np.searchsorted(features.track_row, np.arange(len(features) + 1))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, track: int) -> Example:
        first, end = self.bounds[track : track + 2]
        return self.windows[int(torch.randint(int(first), int(end), ()))]
