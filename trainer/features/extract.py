"""Compute features from audio and lyrics files, once for each track, and cache them.

```
<folder>/train.mels      log-mels of all windows, concatenated
<folder>/train.lyrics    hidden states, or token ids, of all tracks, concatenated
<folder>/train.json      the tracks and the shapes of their features; written last
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
from trainer.errors import DecodingError, ManifestError, UnreadableFile, UsedInTraining
from trainer.features.cache import Cache
from trainer.features.features import Features
from trainer.network.frontend import LogMel
from trainer.network.network import Network

VERSION = "1"
"""Part of the cache keys. Increase it if features of unchanged files change."""

CHUNK_TRACKS = 32
"""Tracks decoded and encoded in one step."""

LOG_SECONDS = 300
"""Interval of log lines on progress, for logs without a progress bar."""

DIGESTS, LOG_MELS, HIDDEN = "digests", "log-mels", "hidden"
"""Kinds of cache entries."""

DECODE_SECONDS = 60.0
DECODE_MEMORY_BYTES = 2 * 2**30
"""Time and memory limit of decoding one track: the worker's defaults."""

HalfArray = NDArray[np.float16]
"""Array in half precision."""

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
    """`<split>.json`. Lists have an entry for each track whose features were computed, in order."""

    frontend_key: str
    """`Extractor.frontend_key` of the features."""
    encoder_key: str
    """`Extractor.encoder_key` of the features."""
    tracks: list[str] = []
    """Track ids."""
    digests: list[str] = []
    """SHA-256 of the encoded audio."""
    windows: list[int] = []
    """Number of windows."""
    tokens: list[int] = []
    """Number of lyrics tokens."""
    left_out: list[str] = []
    """Name of the error of each track without features."""
    window_shape: tuple[int, ...] = ()
    """Shape of the features of one window."""
    lyrics_shape: tuple[int, ...] = ()
    """Shape of the lyrics features of one track."""


class _Input(NamedTuple):
    """Inputs of a readable track: cached log-mels or, if there are none, its windows; and token ids."""

    digest: str
    log_mels: HalfArray | None
    windows: Waveform | None
    ids: list[int]


@dataclass(frozen=True)
class Extractor:
    """Computes features with a network's frontend and, if it is frozen, its lyrics encoder."""

    network: Network
    tokenizer: LyricsTokenizer
    cache: Cache
    decoders: DecoderPool
    frontend_key: str
    """Digest of what log-mels depend on besides the recording: windows, frontend, versions."""
    encoder_key: str
    """Digest of what hidden states depend on besides the token ids: the encoder's weights, version."""

    @classmethod
    def for_network(
        cls, network: Network, tokenizer: LyricsTokenizer, cache: Cache, decoders: DecoderPool
    ) -> "Extractor":
        """Return an extractor with the cache keys of `network`."""
        config = network.config
        frontend = network.frontend
        identity = (
            str((config.n_fft, config.hop, config.mels, config.log_gain))
            if isinstance(frontend, LogMel)
            else frontend.identity
        )
        windows = config.audio.model_dump_json()
        return cls(
            network,
            tokenizer,
            cache,
            decoders,
            frontend_key=content_digest(VERSION, str(PIPELINE_VERSION), windows, identity),
            encoder_key=content_digest(VERSION, *_weight_bytes(network.lyrics_encoder.state_dict())),
        )

    def extract(
        self, library: Library, split: Split, folder: Path, excluded: Collection[str] = ()
    ) -> Features:
        """Return the features of a split, stored as files in `folder`.

        Files of an earlier call are used again.

        A track whose files cannot be used is logged and left out. So is a track whose audio has one of the
        digests `excluded` or, if cogenre assigned the splits, whose artist has one. Raises OutputError, and
        ManifestError if fewer than two tracks are left.
        """
        file = index_file(folder, split)
        if not file.exists():
            try:
                index = self._write_split(library, split, folder, excluded)
            except OSError as error:
                raise OutputError(f"cannot write to {folder} ({error.strerror}): free some space") from error
            if len(index.tracks) < 2:
                raise ManifestError(
                    f"split {split}: fewer than two of {len(library.in_split(split))} tracks are left; "
                    "see the warnings"
                )
            write_text(file, index.model_dump_json())
        index = _Index.model_validate_json(file.read_bytes())
        if (index.frontend_key, index.encoder_key) != (self.frontend_key, self.encoder_key):
            raise OutputError(f"{folder} was written by another release or for another encoder: remove it")
        kept = len(index.tracks)
        by_id = {track.track_id: track for track in library.in_split(split)}
        tracks = [by_id[track_id] for track_id in index.tracks]
        mels_file, lyrics_file = _feature_files(folder, split)
        lyrics_type = np.float16 if self.network.config.lyrics_frozen else np.int32
        return Features(
            log_mels=np.memmap(mels_file, np.float16, "r", shape=(sum(index.windows), *index.window_shape)),
            track_row=np.repeat(np.arange(kept), index.windows),
            lyrics=np.memmap(lyrics_file, lyrics_type, "r", shape=(kept, *index.lyrics_shape)),
            mask=np.arange(self.network.config.max_tokens) < np.array(index.tokens)[:, None],
            labels=library.labels(tracks),
            tracks=tuple(tracks),
            digests=tuple(index.digests),
            left_out=tuple(index.left_out),
        )

    def _write_split(self, library: Library, split: Split, folder: Path, excluded: Collection[str]) -> _Index:
        """Write the features of a split and return their index. Raises OSError."""
        tracks = library.in_split(split)
        config = self.network.config
        index = _Index(frontend_key=self.frontend_key, encoder_key=self.encoder_key)
        mels_file, lyrics_file = _feature_files(folder, split)
        with (
            mels_file.open("wb") as mels,
            lyrics_file.open("wb") as lyrics,
            ThreadPoolExecutor(available_cpus()) as pool,
        ):
            starts = range(0, len(tracks), CHUNK_TRACKS)
            logged = time.monotonic()
            for start in progress(starts, description=f"Computing features of {split}", transient=True):
                if time.monotonic() > logged + LOG_SECONDS:
                    logged = time.monotonic()
                    log.info("features of %d of %d tracks of split %s computed", start, len(tracks), split)
                chunk = tracks[start : start + CHUNK_TRACKS]
                inputs = []
                for track, result in zip(
                    chunk,
                    pool.map(lambda each: self._read_inputs(library, each, excluded), chunk),
                    strict=True,
                ):
                    if isinstance(result, _Input):
                        inputs.append(result)
                        index.tracks.append(track.track_id)
                        index.digests.append(result.digest)
                    else:
                        log.warning("track %s is left out: %s", track.track_id, result)
                        index.left_out.append(type(result).__name__)
                for track_input in inputs:
                    log_mels = self._load_or_compute_log_mels(track_input)
                    mels.write(log_mels.tobytes())
                    index.windows.append(len(log_mels))
                    index.window_shape = log_mels.shape[1:]
                rows = [track_input.ids for track_input in inputs]
                for tokens in self._load_or_encode(rows) if config.lyrics_frozen else map(_to_int32, rows):
                    padding = [(0, config.max_tokens - len(tokens))] + [(0, 0)] * (tokens.ndim - 1)
                    padded = np.pad(tokens, padding)
                    lyrics.write(padded.tobytes())
                    index.tokens.append(len(tokens))
                    index.lyrics_shape = padded.shape
        return index

    def _read_inputs(
        self, library: Library, track: Track, excluded: Collection[str]
    ) -> _Input | MediaError | UnreadableFile | UsedInTraining:
        """Return the inputs of a track, or the error for which the track is left out."""
        try:
            digest, log_mels, encoded = self._read_audio(library, track)
            if digest in excluded:
                raise UsedInTraining("its recording is in the training data")
            # If the manifest lists the splits, its author decided which artists are in which.
            if library.assigned and artist_digest(track) in excluded:
                raise UsedInTraining(f"other tracks of {track.artist} are in the training data")
            windows = None
            if log_mels is None:
                windows = self.decoders.decode(BytesSource(encoded), self.network.config.audio).windows
            config = self.network.config
            text = library.load_lyrics(track, config.lyrics_filter)
            return _Input(digest, log_mels, windows, self.tokenizer.encode(text))
        except (MediaError, UnreadableFile, UsedInTraining) as error:
            return error

    def _read_audio(self, library: Library, track: Track) -> tuple[str, HalfArray | None, bytes]:
        """Return the digest of a track's audio, its cached log-mels or None, and the encoded file.

        The encoded file is empty if it was not read, because its digest and its log-mels are cached.
        """
        version = library.audio_version(track)
        cached = self.cache.get(DIGESTS, version) if version else None
        if cached is not None:
            digest = cached.tobytes().hex()
            log_mels = self.cache.get(LOG_MELS, content_digest(self.frontend_key, digest))
            if log_mels is not None:
                return digest, log_mels, b""
        encoded = library.load_audio(track)
        hashed = hashlib.sha256(encoded)
        if version:
            self.cache.put(DIGESTS, version, np.frombuffer(hashed.digest(), np.uint8))
        digest = hashed.hexdigest()
        return digest, self.cache.get(LOG_MELS, content_digest(self.frontend_key, digest)), encoded

    @torch.no_grad()
    def _load_or_compute_log_mels(self, track: _Input) -> HalfArray:
        """Return the log-mels of a track (windows, mels, frames), as in `Features.log_mels`."""
        if track.log_mels is not None:
            return track.log_mels
        device = self.network.log_scale.device
        log_mels = _to_float16(self.network.frontend(torch.from_numpy(track.windows).to(device)))
        self.cache.put(LOG_MELS, content_digest(self.frontend_key, track.digest), log_mels)
        return log_mels

    @torch.no_grad()
    def _load_or_encode(self, rows: Sequence[Sequence[int]]) -> list[HalfArray]:
        """Return the hidden states (tokens, H) of each row of token ids, cached or computed."""
        empty = np.zeros((0, self.network.lyrics_encoder.config.hidden_size), np.float16)
        keys = [content_digest(self.encoder_key, np.array(row, np.int64).tobytes()) for row in rows]
        cached = [self.cache.get(HIDDEN, key) if row else empty for key, row in zip(keys, rows, strict=True)]
        complete = [states for states in cached if states is not None]
        if len(complete) == len(rows):
            return complete
        # Cached rows are computed again too: the last bits of a result depend on the size of its batch.
        device = self.network.log_scale.device
        ids, mask = map(torch.from_numpy, pad_tokens(rows, self.network.config.max_tokens))
        states = _to_float16(self.network.encode_lyrics(ids.to(device), mask.to(device)))
        unpadded = [padded[: len(row)] for row, padded in zip(rows, states, strict=True)]
        for key, row, row_states in zip(keys, rows, unpadded, strict=True):
            if row:
                self.cache.put(HIDDEN, key, row_states)
        return unpadded


def index_file(folder: Path, split: Split) -> Path:
    """Return the file whose existence means that the features of a split are complete."""
    return folder / f"{split}.json"


def _feature_files(folder: Path, split: Split) -> tuple[Path, Path]:
    return folder / f"{split}.mels", folder / f"{split}.lyrics"


def _weight_bytes(state: dict[str, Tensor]) -> Iterable[bytes]:
    for name in sorted(state):
        yield name.encode()
        yield state[name].cpu().contiguous().numpy().tobytes()


def _to_int32(row: Sequence[int]) -> NDArray[np.int32]:
    return np.array(row, np.int32)


def _to_float16(x: Tensor) -> HalfArray:
    array: HalfArray = x.to("cpu", torch.float16).numpy()
    return array


def report_left_out(splits: Iterable[Features], advice: str = "") -> None:
    """Log how many tracks were left out and why, followed by `advice`. Log nothing if none were left out."""
    splits = list(splits)
    reasons = Counter(reason for features in splits for reason in features.left_out)
    if reasons:
        total = reasons.total() + sum(len(features) for features in splits)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        log.warning("left out %d of %d tracks: %s%s", reasons.total(), total, why, advice)
