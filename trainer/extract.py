"""From files to features: decoded, heard and, by a frozen encoder, read once a track and kept for later."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track as progress
from torch import Tensor

from media import PIPELINE_VERSION
from media.decode import Waveform, decode_windows
from media.errors import MediaError
from media.tokens import LyricsTokenizer
from trainer.cache import Cache, key_of
from trainer.data import Library, Split, Track
from trainer.errors import ManifestError, UnreadableFile
from trainer.features import Features, pad_tokens
from trainer.frontend import LogMel
from trainer.network import Network

VERSION = "1"
"""Raised whenever the same clip or lyrics gives other features than before: the cache is keyed by it."""

CHUNK = 32
"""Tracks decoded and encoded together."""

LOG_MELS, HIDDEN = "log-mels", "hidden"

Halves = NDArray[np.float16]

log = logging.getLogger(__name__)


class _Input(NamedTuple):
    """A track whose files can be read: its log-mels where the cache has them, else its windows."""

    digest: str
    log_mels: Halves | None
    windows: Waveform | None
    ids: list[int]


@dataclass(frozen=True)
class Extractor:
    """What a network's frontend and, where it is frozen, its lyrics encoder make of tracks."""

    network: Network
    tokenizer: LyricsTokenizer
    cache: Cache
    hearing: str
    """Identity of the windows and the frontend."""
    reading: str
    """Identity of the lyrics encoder."""

    @classmethod
    def of(cls, network: Network, tokenizer: LyricsTokenizer, cache: Cache) -> "Extractor":
        config = network.config
        frontend = network.frontend
        by = (
            str((config.n_fft, config.hop, config.mels))
            if isinstance(frontend, LogMel)
            else frontend.identity
        )
        cut = (config.audio.model_dump_json(), by)
        return cls(
            network,
            tokenizer,
            cache,
            hearing=key_of(VERSION, str(PIPELINE_VERSION), *cut),
            reading=key_of(VERSION, *_weights(network.lyrics_encoder.state_dict())),
        )

    def extract(self, library: Library, split: Split, folder: Path) -> Features:
        """Features of a split, their files in `folder`. A track whose files are bad is reported and left out.

        Raises ManifestError where fewer than two tracks are left.
        """
        tracks = library.of(split)
        config = self.network.config
        kept: list[Track] = []
        digests: list[str] = []
        windows: list[int] = []
        lengths: list[int] = []
        left_out: list[str] = []
        mels_file, lyrics_file = folder / f"{split}.mels", folder / f"{split}.lyrics"
        with (
            mels_file.open("wb") as mels,
            lyrics_file.open("wb") as lyrics,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            starts = range(0, len(tracks), CHUNK)
            for start in progress(starts, description=f"Listening to {split}", transient=True):
                chunk = tracks[start : start + CHUNK]
                whole = []
                for track, found in zip(
                    chunk, pool.map(lambda one: self._read(library, one), chunk), strict=True
                ):
                    if isinstance(found, _Input):
                        whole.append(found)
                        kept.append(track)
                    else:
                        log.warning("track %s is left out: %s", track.track_id, found)
                        left_out.append(type(found).__name__)
                for found in whole:
                    heard = self._log_mels(found)
                    mels.write(heard.tobytes())
                    windows.append(len(heard))
                    digests.append(found.digest)
                rows = [found.ids for found in whole]
                for words in self._hidden(rows) if config.lyrics_frozen else map(_ids, rows):
                    padded = np.pad(
                        words, [(0, config.max_tokens - len(words))] + [(0, 0)] * (words.ndim - 1)
                    )
                    lyrics.write(padded.tobytes())
                    lengths.append(len(words))
        if len(kept) < 2:
            raise ManifestError(
                f"split {split}: fewer than two of {len(tracks)} tracks can be read; see the warnings"
            )
        return Features(
            log_mels=np.memmap(mels_file, heard.dtype, "r").reshape(sum(windows), *heard.shape[1:]),
            owners=np.repeat(np.arange(len(kept)), windows),
            lyrics=np.memmap(lyrics_file, padded.dtype, "r").reshape(len(kept), *padded.shape),
            mask=np.arange(config.max_tokens) < np.array(lengths)[:, None],
            labels=library.labels(kept),
            tracks=tuple(kept),
            digests=tuple(digests),
            left_out=tuple(left_out),
        )

    def _read(self, library: Library, track: Track) -> _Input | MediaError | UnreadableFile:
        try:
            encoded = library.audio(track)
            digest = hashlib.sha256(encoded).hexdigest()
            log_mels = self.cache.get(LOG_MELS, key_of(self.hearing, digest))
            windows = None
            if log_mels is None:
                windows = decode_windows(encoded, self.network.config.audio).windows
            return _Input(digest, log_mels, windows, self.tokenizer.encode(library.lyrics(track)))
        except (MediaError, UnreadableFile) as error:
            return error

    @torch.no_grad()
    def _log_mels(self, found: _Input) -> Halves:
        """(windows, mels, frames), as `Features.log_mels`"""
        if found.log_mels is not None:
            return found.log_mels
        device = self.network.log_scale.device
        heard = _half(self.network.frontend(torch.from_numpy(found.windows).to(device)))
        self.cache.put(LOG_MELS, key_of(self.hearing, found.digest), heard)
        return heard

    @torch.no_grad()
    def _hidden(self, rows: Sequence[Sequence[int]]) -> list[Halves]:
        """Hidden states (tokens, H) of each row of token ids."""
        nothing = np.zeros((0, self.network.lyrics_encoder.config.hidden_size), np.float16)
        keys = [key_of(self.reading, np.array(row, np.int64).tobytes()) for row in rows]
        kept = [self.cache.get(HIDDEN, key) if row else nothing for key, row in zip(keys, rows, strict=True)]
        known = [states for states in kept if states is not None]
        if len(known) == len(rows):
            return known
        # All of them, also those that are known: the last bits of a result depend on the size of its batch.
        device = self.network.log_scale.device
        ids, mask = pad_tokens(rows, self.network.config.max_tokens)
        states = _half(self.network.read(ids.to(device), mask.to(device)))
        for key, row, own in zip(keys, rows, states, strict=True):
            if row:
                self.cache.put(HIDDEN, key, own[: len(row)])
        return [own[: len(row)] for row, own in zip(rows, states, strict=True)]


def _weights(state: dict[str, Tensor]) -> Iterable[bytes]:
    for name in sorted(state):
        yield name.encode()
        yield state[name].cpu().contiguous().numpy().tobytes()


def _ids(row: Sequence[int]) -> NDArray[np.int32]:
    return np.array(row, np.int32)


def _half(x: Tensor) -> Halves:
    halves: Halves = x.to("cpu", torch.float16).numpy()
    return halves


def report_left_out(splits: Iterable[Features]) -> None:
    """The last word on tracks that could not be read: how many, and why."""
    splits = list(splits)
    reasons = Counter(reason for features in splits for reason in features.left_out)
    if reasons:
        total = reasons.total() + sum(len(features) for features in splits)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        log.warning("left out %d of %d tracks: %s", reasons.total(), total, why)
