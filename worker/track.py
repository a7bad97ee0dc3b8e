"""One track's way, from the message to the catalog.

```
message ─► validate ─► open ─► seen? ─► decode ─► tokenise ─► infer ─► commit ─► catalogued
              │          │       │         │          │         │        │
              ▼          ▼       └► skipped           ▼         ▼        ▼
            failed ◄─────┴─────────────────┴──────────┴─────────┴────────┘   (final errors)
```

A job ends as exactly one of: catalogued, skipped, failed. An error that may pass (S3 or the catalog does not
answer) is none of these: after some patience `TryLater` hands the job back to the queue.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import numpy as np
import tenacity
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from media import PIPELINE_VERSION
from media.lyrics import MAX_BYTES as MAX_LYRICS_BYTES
from media.lyrics import read_lyrics
from media.source import Source
from schemas.jobs import InlineLyrics, ObjectRef, TrackJob
from worker.batch_policy import BatchPolicy
from worker.batcher import Batcher
from worker.catalog.tracks import Classified, Failure, TrackCatalog
from worker.decoders import DecoderPool
from worker.errors import (
    DecoderUnavailable,
    JobInvalid,
    ObjectChanged,
    StorageUnavailable,
    TrackError,
    TryLater,
)
from worker.model import Model, ModelInput, Prediction
from worker.observe import delivery
from worker.observe.metrics import BATCH_ROWS, FAILURES, STAGE_SECONDS, TRACKS
from worker.observe.tracing import span
from worker.storage import ObjectStore, StoredObject, StoredSource

log = logging.getLogger(__name__)

Outcome = Literal["catalogued", "skipped", "failed"]
Result = TypeVar("Result")

COMMIT_GROUP = 64
"""Tracks in one transaction, at most."""


class Labeller:
    """Labels many tracks at once: many threads call `label`, one the model, one the catalog."""

    def __init__(
        self,
        model: Model,
        store: ObjectStore,
        decoders: DecoderPool,
        catalog: TrackCatalog,
        *,
        max_audio_bytes: int,
        max_rows: int,
        capacity: int,
        patience: float,
        beat: Callable[[], None],
    ) -> None:
        """Raises ConfigError where a batch cannot hold a single track."""
        self._model = model
        self._store = store
        self._decoders = decoders
        self._catalog = catalog
        self._max_audio_bytes = max_audio_bytes
        self._patience = patience
        policy = BatchPolicy(max_rows, model.bucket)
        policy.check(model.manifest.audio.windows)
        self._inference: Batcher[ModelInput, Prediction] = Batcher(
            "inference", policy.take, self._predict, capacity, beat
        )
        self._writer: Batcher[Classified, None] = Batcher(
            "writer", lambda waiting: list(range(min(len(waiting), COMMIT_GROUP))), self._write, capacity
        )

    def close(self) -> None:
        """Finish what is under way."""
        self._inference.close()
        self._writer.close()

    def label(self, message: Mapping[str, Any]) -> Outcome:
        """Take the job in `message` to its end. Raises TryLater where it has to be tried again."""
        job: TrackJob | None = None
        outcome: Outcome
        try:
            with _stage("validate"):
                job = _validated(message)
            delivery.started(job.enqueued_at)
            outcome = self._label(job)
        except TrackError as error:
            log.warning("failed: %s", error)
            FAILURES.labels(error.stage, error.error_class).inc()
            failure = _failure(message, job, error)
            self._patiently(lambda: self._catalog.record_failure(failure))
            outcome = "failed"
        TRACKS.labels(outcome).inc()
        return outcome

    def _label(self, job: TrackJob) -> Outcome:
        clock = _Stopwatch()
        with clock.stage("open"):
            audio = self._store.open(job.audio, self._max_audio_bytes)
            lyrics = (
                self._store.open(job.lyrics, MAX_LYRICS_BYTES)
                if isinstance(job.lyrics, ObjectRef)
                else job.lyrics
            )
            input_hash = _input_hash(audio, lyrics)
        if not job.force and self._patiently(lambda: self._catalog.seen(job.track_id, input_hash)):
            return "skipped"
        with clock.stage("decode"):
            source = _TimedSource(StoredSource(self._store, audio))
            clip = self._decoders.decode(source, self._model.manifest.audio)
        clock.part("decode", "fetch", source.seconds)
        with clock.stage("tokenise"):
            ids, use = self._model.read(self._text(lyrics))
        with clock.stage("infer"):
            request = self._model.input(clip, ids, use)
            prediction = self._inference.submit(request).result()
            if not np.isfinite(prediction.scores).all():
                raise ValueError("the model's scores are not numbers")
        with clock.stage("commit"):
            labels = self._model.rule.labels(prediction.scores)
            self._writer.submit(
                Classified(
                    job,
                    input_hash,
                    prediction,
                    labels,
                    request.lyrics,
                    request.track_seconds,
                    request.heard_seconds,
                    clock.milliseconds(),
                )
            ).result()
        delivery.committed(job.enqueued_at)
        return "catalogued"

    def _text(self, lyrics: StoredObject | InlineLyrics | None) -> str | None:
        match lyrics:
            case StoredObject():
                return read_lyrics(self._store.read(lyrics))
            case InlineLyrics():
                return lyrics.text
            case None:
                return None

    def _predict(self, inputs: Sequence[ModelInput]) -> list[Prediction]:
        BATCH_ROWS.observe(sum(len(track.windows) for track in inputs))
        return self._model.predict(inputs)

    def _write(self, group: Sequence[Classified]) -> list[None]:
        return self._patiently(lambda: self._catalog.write(group))

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Do it again while the catalog does not answer. Raises TryLater when patience is at its end."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((OperationalError, InterfaceError)),
            stop=tenacity.stop_after_delay(self._patience),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        try:
            return retrying(call)
        except (OperationalError, InterfaceError) as error:
            raise TryLater(f"the catalog does not answer: {error}") from error


class _Stopwatch:
    """Seconds a stage: for the catalog's row, for the metrics and as spans."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            with span(name), _stage(name):
                yield
        finally:
            self._seconds[name] = time.perf_counter() - started
            STAGE_SECONDS.labels(name).observe(self._seconds[name])

    def part(self, whole: str, name: str, seconds: float) -> None:
        """Of the stage `whole`, so long was spent on `name`."""
        self._seconds[whole] -= seconds
        self._seconds[name] = seconds
        STAGE_SECONDS.labels(name).observe(seconds)

    def milliseconds(self) -> dict[str, float]:
        return {name: round(seconds * 1000, 3) for name, seconds in self._seconds.items()}


class _TimedSource:
    """A source that adds up how long its reads take."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.seconds = 0.0

    @property
    def size(self) -> int:
        return self._source.size

    def read_at(self, offset: int, length: int) -> bytes:
        started = time.perf_counter()
        try:
            return self._source.read_at(offset, length)
        finally:
            self.seconds += time.perf_counter() - started


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Errors inside end the track in this stage, but for those that may pass."""
    try:
        yield
    except (StorageUnavailable, ObjectChanged, DecoderUnavailable) as error:
        raise TryLater(str(error)) from error
    except (TryLater, TrackError):
        raise
    except Exception as error:
        raise TrackError(name, error) from error


def _validated(message: Mapping[str, Any]) -> TrackJob:
    try:
        return TrackJob.model_validate_json(json.dumps(message), strict=True)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise JobInvalid("; ".join(problems)) from error


def _input_hash(audio: StoredObject, lyrics: StoredObject | InlineLyrics | None) -> bytes:
    """What went in: the pipeline's version and the identities of the audio and the lyrics."""
    match lyrics:
        case StoredObject():
            words = lyrics.identity
        case InlineLyrics():
            words = hashlib.sha256(lyrics.text.encode()).hexdigest()
        case None:
            words = ""
    return hashlib.sha256(json.dumps([PIPELINE_VERSION, audio.identity, words]).encode()).digest()


def _failure(message: Mapping[str, Any], job: TrackJob | None, error: TrackError) -> Failure:
    claimed = message.get("track_id")
    track_id = job.track_id if job else claimed if isinstance(claimed, str) and _storable(claimed) else None
    return Failure(
        job, track_id, error.stage, error.error_class, _one_line(error.reason), json.dumps(message)
    )


def _storable(text: str) -> bool:
    return "\x00" not in text and text.isprintable()


def _one_line(text: str) -> str:
    return " ".join(text.encode(errors="replace").decode().replace("\x00", " ").split())[:2000]
