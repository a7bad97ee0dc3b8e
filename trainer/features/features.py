"""What never changes in training, computed once a track: log-mels, and hidden states of a frozen encoder."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from trainer.data.track import Track


@dataclass(frozen=True)
class Features:
    """A split, ready for training. W = windows of all tracks, N = tracks, T = tokens, H = hidden width.

    Stored in half precision, in files that the system pages in as needed: a spectrogram needs no more, and
    a large library fits in no memory.
    """

    log_mels: NDArray[np.float16]
    """(W, mels, frames); with an `audio_model`, what its extractor gives of each window."""
    track_row: NDArray[np.int64]
    """(W,), ascending: the track of each window."""
    lyrics: NDArray[np.float16] | NDArray[np.int32]
    """(N, T, H), hidden states; (N, T), token ids, where the lyrics encoder is not frozen."""
    mask: NDArray[np.bool_]
    """(N, T)"""
    labels: Tensor
    """(N, genres) of 0 and 1."""
    tracks: tuple[Track, ...]
    digests: tuple[str, ...]
    """SHA-256 of each track's encoded audio."""
    left_out: tuple[str, ...]
    """Why each of the other tracks of the split is not here: names of errors."""

    def __len__(self) -> int:
        return len(self.labels)


Example = tuple[Tensor, Tensor, Tensor, Tensor]
"""log-mel (mels, frames), hidden (T, H) or ids (T,), mask (T,), labels (genres,): as in `Features`"""


class Windows(Dataset[Example]):
    """Every window of a split."""

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
    """One window of each track, another one each time."""

    def __init__(self, features: Features) -> None:
        self.windows = Windows(features)
        self.bounds = np.searchsorted(features.track_row, np.arange(len(features) + 1))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, track: int) -> Example:
        first, end = self.bounds[track : track + 2]
        return self.windows[int(torch.randint(int(first), int(end), ()))]
