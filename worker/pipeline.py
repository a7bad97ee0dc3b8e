"""The pipeline of one track, from the message to the catalog.

```
                              look up    ┌──────── classify ────────┐
message ─► validate ─► open ─► known? ─► decode ─► tokenise ─► infer ─► commit ─► catalogued
              │          │      │  │        │          │         │        ▲ │
              │          │      │  └─ yes, of another track ──────────────┘ │
              │          │      └► skipped: yes, of this track              │
              ▼          ▼                  ▼          ▼         ▼          ▼
            failed ◄─────┴──────────────────┴──────────┴─────────┴──────────┘   permanent errors
          postponed ◄─────── temporary errors; after `max_attempts`, failed
```

A job ends as exactly one of: catalogued, skipped, failed, postponed. A postponed job is due again later
(`worker.catalog.jobs`). If the catalog does not answer, `TryLater` returns the job to the queue.

Tracks with the same input share one classification, unless the job is forced. If two of them are processed at
the same time, one waits for the result of the other (`worker.single_flight`). If they are processed one after
the other, the second finds the result in the catalog. No result is missed in between: a track joins
`SingleFlight` before the look-up and leaves it after its commit.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from worker.catalog.tracks import Classified, StoredResult
from worker.errors import JobInvalid, Stage, TrackError, TryLater, WorkerDied
from worker.models.serving import ServedModel, ServedModels
from worker.observe.metrics import FAILURES, TRACKS
from worker.queue import delivery
from worker.results import TrackResult
from worker.single_flight import Flight, SingleFlight
from worker.stages import Stopwatch, TimedSource, stage_errors

log = logging.getLogger(__name__)

Outcome = Literal["catalogued", "skipped", "failed", "postponed"]
Result = TypeVar("Result")
Lyrics = StoredObject | InlineLyrics | None
Results = dict[ServedModel, TrackResult]
"""Results of one track, by model."""

MAX_CLOCK_SKEW = timedelta(days=1)
"""How far `enqueued_at` may lie in the future. With a later time, the job would stay the track's newest
job."""


@dataclass(frozen=True)
class _OpenedTrack:
    """A job whose audio and lyrics exist in S3 and have not been read yet."""

    job: TrackJob
    audio: StoredObject
    lyrics: Lyrics
    input_hash: bytes
    """Hash of everything that determines a model's result: audio, lyrics, language, windows."""
    clock: Stopwatch
    deadline: float
    """Value of time.monotonic() before which the models must start on the track; else the attempt fails."""


class TrackPipeline:
    """Labels tracks. Safe to share between threads."""

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
        """Process the job in `message` and return its outcome.

        `redelivered`: whether a worker received the job before and did not finish it.
        Raises TryLater if the catalog does not answer; then the job has no outcome yet.
        """
        job: TrackJob | None = None
        outcome: Outcome
        try:
            with stage_errors(Stage.VALIDATE):
                job = _parse_job(message)
            delivery.record_start(job.enqueued_at)
            if redelivered:
                self._count_attempt(
                    job,
                    WorkerDied("the worker that had received the job died or was stopped before it finished"),
                )
            outcome = self._label_or_postpone(job)
        except TrackError as error:
            log.warning(
                "failed at stage %s; when the cause is fixed, run `cogenre failures replay`",
                error,
            )
            FAILURES.labels(error.stage, error.error_class).inc()
            failure = _new_failure(message, job, error)
            self._with_retries(lambda: self._catalog.record_failure(failure))
            outcome = "failed"
        TRACKS.labels(outcome).inc()
        return outcome

    def _label_or_postpone(self, job: TrackJob) -> Outcome:
        """Label a track, or count the attempt if a temporary error prevents that."""
        try:
            with self._models.acquire() as models:
                if not models:
                    raise TryLater("no model is served, because the worker is stopping")
                return self._label(job, models)
        except TryLater as error:
            self._count_attempt(job, error.__cause__ or error)
            return "postponed"

    def _count_attempt(self, job: TrackJob, cause: BaseException) -> None:
        """Count and log a failed attempt. Raises TrackError if the track has had `max_attempts`."""
        try:
            attempts = self._with_retries(lambda: self._catalog.count_attempt(job))
        except TryLater:
            log.warning("attempt failed, and the catalog did not count it: %s", cause)
            raise
        if attempts >= self._max_attempts:
            log.warning("attempt %d of %d failed: %s", attempts, self._max_attempts, cause)
            raise TrackError(Stage.DELIVER, cause)
        log.warning(
            "attempt %d of %d failed: %s; `cogenre reconcile` enqueues the track again when it is due",
            attempts,
            self._max_attempts,
            cause,
        )

    def _label(self, job: TrackJob, models: Sequence[ServedModel]) -> Outcome:
        """Look up earlier results, classify with the models that have none, and commit."""
        track = self._open(job)
        if job.force:
            return self._commit(track, self._classify(track, models))
        labels = [model.label for model in models]
        with self._same_input.join(track.input_hash + repr(labels).encode()) as flight:
            known = self._look_up(track, models)
            if not flight.leads:
                known |= self._wait_for_same_input(track, flight, _without(models, known))
            results = {model: entry.result for model, entry in known.items()}
            results |= self._classify(track, _without(models, known))
            flight.share(results)
            stored = [model for model, entry in known.items() if entry.is_same_track]
            return self._commit(track, {model: results[model] for model in _without(results, stored)})

    def _open(self, job: TrackJob) -> _OpenedTrack:
        """Return the job with the current versions of its audio and lyrics."""
        clock = Stopwatch()
        with clock.measure(Stage.OPEN):
            audio = self._store.open(job.audio, self._max_audio_bytes)
            lyrics: Lyrics = (
                self._store.open(job.lyrics, MAX_LYRICS_BYTES)
                if isinstance(job.lyrics, ObjectRef)
                else job.lyrics
            )
            input_hash = self._input_hash(job, audio, lyrics)
        return _OpenedTrack(job, audio, lyrics, input_hash, clock, clock.started + self._track_seconds)

    def _look_up(self, track: _OpenedTrack, models: Sequence[ServedModel]) -> dict[ServedModel, StoredResult]:
        """Return the catalog's results of the models for this input.

        A result of this track, not of another with the same input, becomes the track's current result again.
        """
        known = {}
        for model in models:
            find = partial(model.catalog.find_result, track.job.track_id, track.input_hash)
            if found := self._with_retries(find):
                known[model] = found
        for model, entry in known.items():
            if entry.is_same_track:
                self._with_retries(partial(model.catalog.renew_result, track.job, track.input_hash))
        return known

    def _wait_for_same_input(
        self, track: _OpenedTrack, flight: Flight[Results], models: Sequence[ServedModel]
    ) -> dict[ServedModel, StoredResult]:
        """Wait for the track with the same input that is being processed, and return its results by model.

        If that track failed, return the results that the catalog has by now.
        """
        if not models:
            return {}
        shared = flight.wait(track.deadline)
        if shared is None:
            return self._look_up(track, models)
        return {
            model: StoredResult(is_same_track=False, result=shared[model])
            for model in models
            if model in shared
        }

    def _classify(self, track: _OpenedTrack, models: Sequence[ServedModel]) -> Results:
        """Return the results of the models. Audio is decoded once for all models with the same windows."""
        if not models:
            return {}
        clock, job = track.clock, track.job
        with clock.measure(Stage.DECODE):
            source = TimedSource(self._store.source(track.audio, track.deadline))
            clips = {
                audio: self._decoders.decode(source, audio, track.deadline)
                for audio in dict.fromkeys(model.audio for model in models)
            }
        clock.split_off(Stage.DECODE, Stage.FETCH, source.seconds)
        with clock.measure(Stage.TOKENISE):
            text = self._read_lyrics(track.lyrics, track.deadline)
            lyrics = {model: model.model.encode_lyrics(text, job.language) for model in models}
        with clock.measure(Stage.INFER):
            running = {
                model: model.predict(clips[model.audio], lyrics[model][0], track.deadline) for model in models
            }
            results = {}
            for model, future in running.items():
                clip, prediction = clips[model.audio], future.result()
                if not np.isfinite(prediction.scores).all():
                    raise ValueError(f"model {model.label} returned scores that are infinite or not a number")
                analysed = model.model.analysed_seconds(clip)
                results[model] = TrackResult(prediction, lyrics[model][1], clip.seconds, analysed)
            return results

    def _commit(self, track: _OpenedTrack, results: Results) -> Outcome:
        """Commit the results with their labels. If there are none, mark the job as finished."""
        job, clock = track.job, track.clock
        if not results:
            self._with_retries(lambda: self._catalog.mark_finished(job))
            return "skipped"
        waited = delivery.seconds_since_published(job.enqueued_at)
        timings = clock.milliseconds() | {"wait": round(waited * 1000, 3)}
        with clock.measure(Stage.COMMIT):
            commits = [
                model.commit(
                    Classified(job, track.input_hash, result, _select_labels(model, result), timings)
                )
                for model, result in results.items()
            ]
            for commit in commits:
                commit.result()
        delivery.record_commit(job.enqueued_at)
        return "catalogued"

    def _input_hash(self, job: TrackJob, audio: StoredObject, lyrics: Lyrics) -> bytes:
        """Return the SHA-256 of the input: pipeline version, windows, audio, lyrics and their language."""
        match lyrics:
            case StoredObject():
                lyrics_identity = lyrics.identity
            case InlineLyrics():
                lyrics_identity = hashlib.sha256(lyrics.text.encode()).hexdigest()
            case None:
                lyrics_identity = ""
        language = job.language if lyrics_identity else None
        parts = [PIPELINE_VERSION, self._windows, audio.identity, lyrics_identity, language]
        return hashlib.sha256(json.dumps(parts).encode()).digest()

    def _read_lyrics(self, lyrics: Lyrics, deadline: float) -> str | None:
        """Return the raw lyrics; None if the job has none."""
        match lyrics:
            case StoredObject():
                return read_lyrics(self._store.read(lyrics, deadline=deadline))
            case InlineLyrics():
                return lyrics.text
            case None:
                return None

    def _with_retries(self, call: Callable[[], Result]) -> Result:
        return with_retries(call, self._retry_seconds)


def _without(models: Iterable[ServedModel], excluded: Collection[ServedModel]) -> list[ServedModel]:
    """Return the models that are not in `excluded`."""
    return [model for model in models if model not in excluded]


def _select_labels(model: ServedModel, result: TrackResult) -> list[Label]:
    """Return the labels that the model's thresholds select."""
    return model.model.rule.select_labels(result.prediction.scores)


def _parse_job(message: Mapping[str, Any]) -> TrackJob:
    """Return the job in a message. Raises JobInvalid."""
    try:
        job = TrackJob.model_validate_json(_message_json(message), strict=True)
    except ValidationError as error:
        raise JobInvalid.from_validation_error(error) from error
    if job.enqueued_at > datetime.now(UTC) + MAX_CLOCK_SKEW:
        raise JobInvalid(f"enqueued_at: {job.enqueued_at.isoformat()} is more than a day ahead")
    return job


def _new_failure(message: Mapping[str, Any], job: TrackJob | None, error: TrackError) -> Failure:
    """Return the failure to record. The track id of an invalid message is recorded if it can be stored."""
    sent_id = message.get("track_id")
    track_id = (
        job.track_id if job else sent_id if isinstance(sent_id, str) and _is_storable(sent_id) else None
    )
    reason = _to_one_line(error.reason)
    return Failure(job, track_id, error.stage, error.error_class, reason, _message_json(message))


def _message_json(message: Mapping[str, Any]) -> str:
    """Return the message as JSON. Times and UUIDs, to which kombu converts marked values, become text."""
    return json.dumps(message, default=str)


def _is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store the text and a terminal can print it."""
    return "\x00" not in text and text.isprintable()


def _to_one_line(text: str) -> str:
    """Return the text in one line of at most 2,000 characters, without NUL and invalid characters."""
    return " ".join(text.encode(errors="replace").decode().replace("\x00", " ").split())[:2000]
