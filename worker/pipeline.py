"""One track's way, from the message to the catalog.

```
message ─► validate ─► open ─► known? ─► decode ─► tokenise ─► infer ─► commit ─► catalogued
              │          │      │  │        │          │         │        ▲ │
              │          │      │  └ of another track with the same input ┘ │
              │          │      └► skipped: of this very track              │
              ▼          ▼                  ▼          ▼         ▼          ▼
            failed ◄─────┴──────────────────┴──────────┴─────────┴──────────┘   (final errors)
          postponed ◄─────── what may pass, some times; then failed as well
```

A job ends as exactly one of: catalogued, skipped, failed, postponed. A postponed one is due again in a
while (`worker.catalog.jobs`). Where even the catalog does not answer, `TryLater` hands the job back to
the queue.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import ValidationError

from media import PIPELINE_VERSION
from media.decoders import DecoderPool
from media.lyrics import MAX_BYTES as MAX_LYRICS_BYTES
from media.lyrics import read_lyrics
from schemas.jobs import InlineLyrics, ObjectRef, TrackJob
from schemas.labels import Label
from storage.objects import ObjectStore, StoredObject
from worker.catalog.jobs import Failure, JobCatalog
from worker.catalog.retry import with_retries
from worker.catalog.tracks import Classified, Known
from worker.errors import JobInvalid, TrackError, TryLater, WorkerDied
from worker.models.serving import ServedModel, ServedModels
from worker.observe.metrics import FAILURES, TRACKS
from worker.queue import delivery
from worker.results import TrackResult
from worker.single_flight import SingleFlight
from worker.stages import Stopwatch, TimedSource, stage

log = logging.getLogger(__name__)

Outcome = Literal["catalogued", "skipped", "failed", "postponed"]
Result = TypeVar("Result")
Lyrics = StoredObject | InlineLyrics | None
Results = dict[ServedModel, TrackResult]

AHEAD = timedelta(days=1)
"""What clocks may differ by. A time far ahead would be newer than every later job of the track."""


class TrackPipeline:
    """Labels many tracks at once: many threads call `process`."""

    def __init__(
        self,
        models: ServedModels,
        store: ObjectStore,
        decoders: DecoderPool,
        catalog: JobCatalog,
        *,
        max_audio_bytes: int,
        max_attempts: int,
        retry_seconds: float,
        track_seconds: float,
        windows: int | None,
    ) -> None:
        self._models = models
        self._store = store
        self._decoders = decoders
        self._catalog = catalog
        self._max_audio_bytes = max_audio_bytes
        self._max_attempts = max_attempts
        self._retry_seconds = retry_seconds
        self._track_seconds = track_seconds
        self._windows = windows
        self._same_input: SingleFlight[Results] = SingleFlight()

    def process(self, message: Mapping[str, Any], redelivered: bool = False) -> Outcome:
        """Take the job in `message` to its end.

        `redelivered`: a worker took it before and did not bring it to an end. Raises TryLater where the
        catalog does not answer.
        """
        job: TrackJob | None = None
        outcome: Outcome
        try:
            with stage("validate"):
                job = _validated(message)
            delivery.record_start(job.enqueued_at)
            if redelivered:
                self._count_attempt(job, WorkerDied("a worker that had it died, or was ended in the middle"))
            outcome = self._label_or_postpone(job)
        except TrackError as error:
            log.warning("failed: %s", error)
            FAILURES.labels(error.stage, error.error_class).inc()
            failure = _failure(message, job, error)
            self._with_retries(lambda: self._catalog.record_failure(failure))
            outcome = "failed"
        TRACKS.labels(outcome).inc()
        return outcome

    def _label_or_postpone(self, job: TrackJob) -> Outcome:
        try:
            with self._models.taken() as models:
                if not models:
                    raise TryLater("no model serves: the worker ends")
                return self._label(job, models)
        except TryLater as error:
            self._count_attempt(job, error.__cause__ or error)
            return "postponed"

    def _count_attempt(self, job: TrackJob, cause: BaseException) -> None:
        """Raises TrackError where the track was tried often enough."""
        log.warning("tried in vain: %s", cause)
        if self._with_retries(lambda: self._catalog.give_up(job)) >= self._max_attempts:
            raise TrackError("deliver", cause)

    def _label(self, job: TrackJob, models: Sequence[ServedModel]) -> Outcome:
        clock = Stopwatch()
        with clock.stage("open"):
            audio = self._store.open(job.audio, self._max_audio_bytes)
            lyrics: Lyrics = (
                self._store.open(job.lyrics, MAX_LYRICS_BYTES)
                if isinstance(job.lyrics, ObjectRef)
                else job.lyrics
            )
            input_hash = self._input_hash(job, audio, lyrics)
        with self._said(models, input_hash, job, audio, lyrics, clock) as results:
            if not results:
                self._with_retries(lambda: self._catalog.settle(job))
                return "skipped"
            waited = delivery.seconds_since_published(job.enqueued_at)
            timings = clock.milliseconds() | {"wait": round(waited * 1000, 3)}
            with clock.stage("commit"):
                commits = [
                    model.commit(Classified(job, input_hash, result, _labels(model, result), timings))
                    for model, result in results.items()
                ]
                for commit in commits:
                    commit.result()
        delivery.record_commit(job.enqueued_at)
        return "catalogued"

    @contextmanager
    def _said(
        self,
        models: Sequence[ServedModel],
        input_hash: bytes,
        job: TrackJob,
        audio: StoredObject,
        lyrics: Lyrics,
        clock: Stopwatch,
    ) -> Iterator[Results]:
        """What the models say of the track, where the catalog does not hold it of this very track already.

        Tracks of the same input share it, unless forced: those that come at once through `SingleFlight`,
        and those that come when this one is committed, which is when the context ends, from the catalog.
        """
        if job.force:
            yield self._classify(models, job, audio, lyrics, clock)
            return
        known = self._known(models, job, input_hash)
        for model, before in known.items():
            if before.own:
                self._with_retries(partial(model.catalog.confirm, job, input_hash))
        others = {model: said.result for model, said in known.items() if not said.own}
        unknown = [model for model in models if model not in known]
        if not unknown:
            yield others
            return

        def say() -> Results:
            # Once more: the track that was under way at the first look may be committed by now.
            found = {model: said.result for model, said in self._known(unknown, job, input_hash).items()}
            left = [model for model in unknown if model not in found]
            return found | (self._classify(left, job, audio, lyrics, clock) if left else {})

        key = input_hash + repr([model.label for model in unknown]).encode()
        with self._same_input.shared(key, say, self._deadline(clock)) as said:
            yield others | said

    def _known(
        self, models: Sequence[ServedModel], job: TrackJob, input_hash: bytes
    ) -> dict[ServedModel, Known]:
        look_up = (partial(model.catalog.known, job.track_id, input_hash) for model in models)
        known = (self._with_retries(call) for call in look_up)
        return {model: said for model, said in zip(models, known, strict=True) if said}

    def _classify(
        self,
        models: Sequence[ServedModel],
        job: TrackJob,
        audio: StoredObject,
        lyrics: Lyrics,
        clock: Stopwatch,
    ) -> Results:
        """Decoded once for all models that hear the same windows."""
        with clock.stage("decode"):
            deadline = self._deadline(clock)
            source = TimedSource(self._store.source(audio, deadline))
            clips = {
                heard: self._decoders.decode(source, heard, deadline)
                for heard in dict.fromkeys(model.audio for model in models)
            }
        clock.part("decode", "fetch", source.seconds)
        with clock.stage("tokenise"):
            text = self._text(lyrics, deadline)
            read = {model: model.model.read(text, job.language) for model in models}
        with clock.stage("infer"):
            running = {model: model.predict(clips[model.audio], read[model][0], deadline) for model in models}
            results = {}
            for model, prediction in running.items():
                clip = clips[model.audio]
                said = prediction.result()
                if not np.isfinite(said.scores).all():
                    raise ValueError(f"the scores of {model.label} are not numbers")
                results[model] = TrackResult(
                    said, read[model][1], clip.seconds, model.model.analysed_seconds(clip)
                )
            return results

    def _input_hash(self, job: TrackJob, audio: StoredObject, lyrics: Lyrics) -> bytes:
        """What goes into the models: how it is cut, the audio's identity, the lyrics' and their language."""
        match lyrics:
            case StoredObject():
                words = lyrics.identity
            case InlineLyrics():
                words = hashlib.sha256(lyrics.text.encode()).hexdigest()
            case None:
                words = ""
        parts = [PIPELINE_VERSION, self._windows, audio.identity, words, job.language if words else None]
        return hashlib.sha256(json.dumps(parts).encode()).digest()

    def _text(self, lyrics: Lyrics, deadline: float) -> str | None:
        match lyrics:
            case StoredObject():
                return read_lyrics(self._store.read(lyrics, deadline=deadline))
            case InlineLyrics():
                return lyrics.text
            case None:
                return None

    def _deadline(self, clock: Stopwatch) -> float:
        """Of time.monotonic(): by then the track is at the model, or goes back."""
        return clock.started + self._track_seconds

    def _with_retries(self, call: Callable[[], Result]) -> Result:
        return with_retries(call, self._retry_seconds)


def _labels(model: ServedModel, result: TrackResult) -> list[Label]:
    return model.model.rule.select_labels(result.prediction.scores)


def _validated(message: Mapping[str, Any]) -> TrackJob:
    try:
        job = TrackJob.model_validate_json(_as_sent(message), strict=True)
    except ValidationError as error:
        raise JobInvalid.of(error) from error
    if job.enqueued_at > datetime.now(UTC) + AHEAD:
        raise JobInvalid(f"enqueued_at: {job.enqueued_at.isoformat()} is more than a day ahead")
    return job


def _failure(message: Mapping[str, Any], job: TrackJob | None, error: TrackError) -> Failure:
    claimed = message.get("track_id")
    track_id = job.track_id if job else claimed if isinstance(claimed, str) and _storable(claimed) else None
    return Failure(job, track_id, error.stage, error.error_class, _one_line(error.reason), _as_sent(message))


def _as_sent(message: Mapping[str, Any]) -> str:
    """JSON. kombu made times and UUIDs of what a Python producer sent as such."""
    return json.dumps(message, default=str)


def _storable(text: str) -> bool:
    return "\x00" not in text and text.isprintable()


def _one_line(text: str) -> str:
    return " ".join(text.encode(errors="replace").decode().replace("\x00", " ").split())[:2000]
