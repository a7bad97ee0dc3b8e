"""What never changes in training, computed once a track: log-mels and the frozen encoder's hidden states."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track as progress
from torch import Tensor
from torch.utils.data import Dataset

from media.decode import Clip, decode_windows
from media.errors import MediaError
from media.tokens import LyricsTokenizer
from trainer.data import Library, Split, Track
from trainer.errors import ManifestError, UnreadableFile
from trainer.network import Network

CHUNK = 32
"""Tracks decoded and encoded together."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """A split, ready for training. W = windows of all tracks, N = tracks, T = tokens, H = hidden width.

    Stored in half precision, in files that the system pages in as needed: a spectrogram needs no more, and
    a large library fits in no memory.
    """

    log_mels: NDArray[np.float16]
    """(W, mels, frames)"""
    owners: NDArray[np.int64]
    """(W,), ascending: the track of each window."""
    hidden: NDArray[np.float16]
    """(N, T, H)"""
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


def extract(
    library: Library, split: Split, network: Network, tokenizer: LyricsTokenizer, folder: Path
) -> Features:
    """Features of a split, their files in `folder`. A track whose files are bad is reported and left out.

    Raises ManifestError where fewer than two tracks are left.
    """
    tracks = library.of(split)
    kept: list[Track] = []
    digests: list[str] = []
    left_out: list[str] = []
    windows: list[int] = []
    masks: list[NDArray[np.bool_]] = []
    mels_file, hidden_file = folder / f"{split}.mels", folder / f"{split}.hidden"
    audio = network.config.audio
    with (
        mels_file.open("wb") as mels,
        hidden_file.open("wb") as hidden,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        starts = range(0, len(tracks), CHUNK)
        for start in progress(starts, description=f"Listening to {split}", transient=True):
            read = pool.map(lambda track: _read(library, track, network), tracks[start : start + CHUNK])
            whole = []
            for track, found in zip(tracks[start:], read, strict=False):
                if isinstance(found, _Input):
                    whole.append(found)
                    kept.append(track)
                else:
                    log.warning("track %s is left out: %s", track.track_id, found)
                    left_out.append(type(found).__name__)
            if not whole:
                continue
            digests += [found.digest for found in whole]
            windows += [len(found.clip.windows) for found in whole]
            _write_log_mels(network, [found.clip for found in whole], mels)
            masks.append(_write_hidden(network, tokenizer, [found.lyrics for found in whole], hidden))
    if len(kept) < 2:
        raise ManifestError(
            f"split {split}: fewer than two of {len(tracks)} tracks can be read; see the warnings"
        )
    frames = 1 + audio.window_samples // network.config.hop
    mask = np.concatenate(masks)
    return Features(
        log_mels=np.memmap(mels_file, np.float16, "r", shape=(sum(windows), network.config.mels, frames)),
        owners=np.repeat(np.arange(len(kept)), windows),
        hidden=np.memmap(hidden_file, np.float16, "r").reshape(*mask.shape, -1),
        mask=mask,
        labels=library.labels(kept),
        tracks=tuple(kept),
        digests=tuple(digests),
        left_out=tuple(left_out),
    )


def report_left_out(splits: Iterable[Features]) -> None:
    """The last word on tracks that could not be read: how many, and why."""
    splits = list(splits)
    reasons = Counter(reason for features in splits for reason in features.left_out)
    if reasons:
        total = reasons.total() + sum(len(features) for features in splits)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        log.warning("left out %d of %d tracks: %s", reasons.total(), total, why)


class _Input(NamedTuple):
    clip: Clip
    lyrics: str
    digest: str


def _read(library: Library, track: Track, network: Network) -> _Input | MediaError | UnreadableFile:
    try:
        encoded = library.audio(track)
        clip = decode_windows(encoded, network.config.audio)
        return _Input(clip, library.lyrics(track), hashlib.sha256(encoded).hexdigest())
    except (MediaError, UnreadableFile) as error:
        return error


@torch.no_grad()
def _write_log_mels(network: Network, clips: Sequence[Clip], file: BinaryIO) -> None:
    device = network.log_scale.device
    file.writelines(_half(network.frontend(torch.from_numpy(clip.windows).to(device))) for clip in clips)


@torch.no_grad()
def _write_hidden(
    network: Network, tokenizer: LyricsTokenizer, lyrics: Sequence[str], file: BinaryIO
) -> NDArray[np.bool_]:
    """Hidden states of lyrics padded to the token limit; returns the mask (tracks, T)."""
    device = network.log_scale.device
    ids, mask = pad_tokens([tokenizer.encode(text) for text in lyrics], network.config.max_tokens)
    file.write(_half(network.read(ids.to(device), mask.to(device))))
    return mask.numpy().astype(bool)


def _half(x: Tensor) -> bytes:
    return x.to("cpu", torch.float16).numpy().tobytes()


def pad_tokens(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask (rows, length), int64, padded with zeros."""
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[number, : len(row)] = 1
    return ids, mask


Example = tuple[Tensor, Tensor, Tensor, Tensor]
"""log-mel (mels, frames), hidden (T, H), mask (T,), labels (genres,)"""


class Windows(Dataset[Example]):
    """Every window of a split."""

    def __init__(self, features: Features) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features.owners)

    def __getitem__(self, window: int) -> Example:
        features = self.features
        track = features.owners[window]
        return (
            torch.from_numpy(features.log_mels[window].astype(np.float32)),
            torch.from_numpy(features.hidden[track].astype(np.float32)),
            torch.from_numpy(features.mask[track]),
            features.labels[track],
        )


class RandomWindows(Dataset[Example]):
    """One window of each track, another one each time."""

    def __init__(self, features: Features) -> None:
        self.windows = Windows(features)
        self.bounds = np.searchsorted(features.owners, np.arange(len(features) + 1))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, track: int) -> Example:
        first, end = self.bounds[track : track + 2]
        return self.windows[int(torch.randint(int(first), int(end), ()))]
