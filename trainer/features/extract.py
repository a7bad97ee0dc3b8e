"""From files to features: decoded, heard and, by a frozen encoder, read once a track and kept for later.

```
<folder>/train.mels      log-mels of all windows, one behind the other
<folder>/train.lyrics    hidden states, or token ids, of all tracks
<folder>/train.json      what these are of; written last
```
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from rich.progress import track as progress
from torch import Tensor

from media import PIPELINE_VERSION
from media.cpus import available_cpus
from media.decode import Waveform
from media.decoders import DecoderPool
from media.errors import DecoderUnavailable, MediaError
from media.source import BytesSource
from media.tokens import LyricsTokenizer, pad_tokens
from storage.atomic import write_text
from storage.errors import OutputError
from trainer.data.digest import content_digest
from trainer.data.library import Library
from trainer.data.splits import artist_digest
from trainer.data.track import Split, Track
from trainer.errors import DecodingError, ManifestError, TrainedOn, UnreadableFile
from trainer.features.cache import Cache
from trainer.features.features import Features
from trainer.network.frontend import LogMel
from trainer.network.network import Network

VERSION = "1"
"""Raised whenever the same clip or lyrics gives other features than before: the cache is keyed by it."""

CHUNK = 32
"""Tracks decoded and encoded together."""

SAY_SECONDS = 300
"""Between two lines on how far it is: a log file has no progress bar."""

DIGESTS, LOG_MELS, HIDDEN = "digests", "log-mels", "hidden"

DECODE_SECONDS = 60.0
DECODE_MEMORY_BYTES = 2 * 2**30
"""Time and memory limit of decoding one track: the worker's defaults."""

Halves = NDArray[np.float16]

log = logging.getLogger(__name__)


@contextmanager
def decoder_pool(processes: int | None = None) -> Iterator[DecoderPool]:
    """Yield a pool of sandboxed decode processes, by default one a CPU. Raises DecodingError."""
    try:
        with DecoderPool(
            processes or available_cpus(), seconds=DECODE_SECONDS, memory_bytes=DECODE_MEMORY_BYTES
        ) as pool:
            yield pool
    except DecoderUnavailable as error:
        raise DecodingError(f"cannot decode: {error}") from error


class _Index(BaseModel):
    """`<split>.json`: by what tracks were heard and read; and of each that could be, in order:"""

    hearing: str
    reading: str
    tracks: list[str] = []
    digests: list[str] = []
    windows: list[int] = []
    """How many it has."""
    tokens: list[int] = []
    """How many its lyrics have."""
    left_out: list[str] = []
    window: tuple[int, ...] = ()
    """Shape of one."""
    lyrics: tuple[int, ...] = ()
    """Shape of a track's."""


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
    decoders: DecoderPool
    hearing: str
    """Identity of the windows and the frontend."""
    reading: str
    """Identity of the lyrics encoder."""

    @classmethod
    def of(
        cls, network: Network, tokenizer: LyricsTokenizer, cache: Cache, decoders: DecoderPool
    ) -> "Extractor":
        config = network.config
        frontend = network.frontend
        by = (
            str((config.n_fft, config.hop, config.mels, config.log_gain))
            if isinstance(frontend, LogMel)
            else frontend.identity
        )
        cut = (config.audio.model_dump_json(), by)
        return cls(
            network,
            tokenizer,
            cache,
            decoders,
            hearing=content_digest(VERSION, str(PIPELINE_VERSION), *cut),
            reading=content_digest(VERSION, *_weights(network.lyrics_encoder.state_dict())),
        )

    def extract(
        self, library: Library, split: Split, folder: Path, without: Collection[str] = ()
    ) -> Features:
        """Features of a split, in files in `folder`: those that an earlier call of the same wrote there.

        A track whose files are bad is reported and left out; so is one whose audio, or whose artist where the
        splits are ours, has one of the digests `without`. Raises OutputError, and ManifestError where fewer
        than two tracks are left.
        """
        file = index_file(folder, split)
        if not file.exists():
            try:
                index = self._write(library, split, folder, without)
            except OSError as error:
                raise OutputError(f"cannot write to {folder} ({error.strerror}): make room") from error
            if len(index.tracks) < 2:
                raise ManifestError(
                    f"split {split}: fewer than two of {len(library.in_split(split))} tracks are left; "
                    "see the warnings"
                )
            write_text(file, index.model_dump_json())
        index = _Index.model_validate_json(file.read_bytes())
        if (index.hearing, index.reading) != (self.hearing, self.reading):
            raise OutputError(f"{folder} is of another release, or another encoder: remove it")
        kept = len(index.tracks)
        known = {track.track_id: track for track in library.in_split(split)}
        tracks = [known[track_id] for track_id in index.tracks]
        mels_file, lyrics_file = _files(folder, split)
        lyrics_type = np.float16 if self.network.config.lyrics_frozen else np.int32
        return Features(
            log_mels=np.memmap(mels_file, np.float16, "r", shape=(sum(index.windows), *index.window)),
            track_row=np.repeat(np.arange(kept), index.windows),
            lyrics=np.memmap(lyrics_file, lyrics_type, "r", shape=(kept, *index.lyrics)),
            mask=np.arange(self.network.config.max_tokens) < np.array(index.tokens)[:, None],
            labels=library.labels(tracks),
            tracks=tuple(tracks),
            digests=tuple(index.digests),
            left_out=tuple(index.left_out),
        )

    def _write(self, library: Library, split: Split, folder: Path, without: Collection[str]) -> _Index:
        tracks = library.in_split(split)
        config = self.network.config
        index = _Index(hearing=self.hearing, reading=self.reading)
        mels_file, lyrics_file = _files(folder, split)
        with (
            mels_file.open("wb") as mels,
            lyrics_file.open("wb") as lyrics,
            ThreadPoolExecutor(available_cpus()) as pool,
        ):
            starts = range(0, len(tracks), CHUNK)
            said = time.monotonic()
            for start in progress(starts, description=f"Listening to {split}", transient=True):
                if time.monotonic() > said + SAY_SECONDS:
                    said = time.monotonic()
                    log.info("listened to %d of %d tracks of split %s", start, len(tracks), split)
                chunk = tracks[start : start + CHUNK]
                whole = []
                for track, found in zip(
                    chunk, pool.map(lambda one: self._read(library, one, without), chunk), strict=True
                ):
                    if isinstance(found, _Input):
                        whole.append(found)
                        index.tracks.append(track.track_id)
                        index.digests.append(found.digest)
                    else:
                        log.warning("track %s is left out: %s", track.track_id, found)
                        index.left_out.append(type(found).__name__)
                for found in whole:
                    heard = self._log_mels(found)
                    mels.write(heard.tobytes())
                    index.windows.append(len(heard))
                    index.window = heard.shape[1:]
                rows = [found.ids for found in whole]
                for words in self._hidden(rows) if config.lyrics_frozen else map(_ids, rows):
                    padded = np.pad(
                        words, [(0, config.max_tokens - len(words))] + [(0, 0)] * (words.ndim - 1)
                    )
                    lyrics.write(padded.tobytes())
                    index.tokens.append(len(words))
                    index.lyrics = padded.shape
        return index

    def _read(
        self, library: Library, track: Track, without: Collection[str]
    ) -> _Input | MediaError | UnreadableFile | TrainedOn:
        try:
            digest, log_mels, encoded = self._found(library, track)
            if digest in without:
                raise TrainedOn("its recording was trained on")
            # Whoever lists a split has chosen its artists.
            if library.assigned and artist_digest(track) in without:
                raise TrainedOn(f"other music of {track.artist} was trained on")
            windows = None
            if log_mels is None:
                windows = self.decoders.decode(BytesSource(encoded), self.network.config.audio).windows
            config = self.network.config
            words = library.load_lyrics(track, config.lyrics_filter)
            return _Input(digest, log_mels, windows, self.tokenizer.encode(words))
        except (MediaError, UnreadableFile, TrainedOn) as error:
            return error

    def _found(self, library: Library, track: Track) -> tuple[str, Halves | None, bytes]:
        """Digest of a track's audio; its log-mels where the cache has them, else the encoded file."""
        version = library.audio_version(track)
        known = self.cache.get(DIGESTS, version) if version else None
        if known is not None:
            digest = known.tobytes().hex()
            log_mels = self.cache.get(LOG_MELS, content_digest(self.hearing, digest))
            if log_mels is not None:
                return digest, log_mels, b""
        encoded = library.load_audio(track)
        hashed = hashlib.sha256(encoded)
        if version:
            self.cache.put(DIGESTS, version, np.frombuffer(hashed.digest(), np.uint8))
        digest = hashed.hexdigest()
        return digest, self.cache.get(LOG_MELS, content_digest(self.hearing, digest)), encoded

    @torch.no_grad()
    def _log_mels(self, found: _Input) -> Halves:
        """(windows, mels, frames), as `Features.log_mels`"""
        if found.log_mels is not None:
            return found.log_mels
        device = self.network.log_scale.device
        heard = _half(self.network.frontend(torch.from_numpy(found.windows).to(device)))
        self.cache.put(LOG_MELS, content_digest(self.hearing, found.digest), heard)
        return heard

    @torch.no_grad()
    def _hidden(self, rows: Sequence[Sequence[int]]) -> list[Halves]:
        """Hidden states (tokens, H) of each row of token ids."""
        nothing = np.zeros((0, self.network.lyrics_encoder.config.hidden_size), np.float16)
        keys = [content_digest(self.reading, np.array(row, np.int64).tobytes()) for row in rows]
        kept = [self.cache.get(HIDDEN, key) if row else nothing for key, row in zip(keys, rows, strict=True)]
        known = [states for states in kept if states is not None]
        if len(known) == len(rows):
            return known
        # All of them, also those that are known: the last bits of a result depend on the size of its batch.
        device = self.network.log_scale.device
        ids, mask = map(torch.from_numpy, pad_tokens(rows, self.network.config.max_tokens))
        states = _half(self.network.encode_lyrics(ids.to(device), mask.to(device)))
        for key, row, own in zip(keys, rows, states, strict=True):
            if row:
                self.cache.put(HIDDEN, key, own[: len(row)])
        return [own[: len(row)] for row, own in zip(rows, states, strict=True)]


def index_file(folder: Path, split: Split) -> Path:
    return folder / f"{split}.json"


def _files(folder: Path, split: Split) -> tuple[Path, Path]:
    return folder / f"{split}.mels", folder / f"{split}.lyrics"


def _weights(state: dict[str, Tensor]) -> Iterable[bytes]:
    for name in sorted(state):
        yield name.encode()
        yield state[name].cpu().contiguous().numpy().tobytes()


def _ids(row: Sequence[int]) -> NDArray[np.int32]:
    return np.array(row, np.int32)


def _half(x: Tensor) -> Halves:
    halves: Halves = x.to("cpu", torch.float16).numpy()
    return halves


def report_left_out(splits: Iterable[Features], advice: str = "") -> None:
    """The last word on tracks that could not be read: how many, why, and what to do."""
    splits = list(splits)
    reasons = Counter(reason for features in splits for reason in features.left_out)
    if reasons:
        total = reasons.total() + sum(len(features) for features in splits)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        log.warning("left out %d of %d tracks: %s%s", reasons.total(), total, why, advice)
