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
while (`worker.catalog.attempts`). Where even the catalog does not answer, `TryLater` hands the job back to
the queue.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import tenacity
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from media import PIPELINE_VERSION
from media.lyrics import MAX_BYTES as MAX_LYRICS_BYTES
from media.lyrics import read_lyrics
from schemas.jobs import InlineLyrics, ObjectRef, TrackJob
from worker.batch_policy import BatchPolicy
from worker.batcher import Batcher
from worker.catalog.tracks import Classified, Failure, TrackCatalog
from worker.decoders import DecoderPool
from worker.errors import JobInvalid, TrackError, TryLater, WorkerDied
from worker.model import Model, ModelInput, Prediction, Verdict
from worker.observe import delivery
from worker.observe.metrics import BATCH_ROWS, FAILURES, TRACKS
from worker.single_flight import SingleFlight
from worker.stages import Stopwatch, TimedSource, stage
from worker.storage import ObjectStore, StoredObject, StoredSource

log = logging.getLogger(__name__)

Outcome = Literal["catalogued", "skipped", "failed", "postponed"]
Result = TypeVar("Result")
Lyrics = StoredObject | InlineLyrics | None

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
        max_attempts: int,
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
        self._max_attempts = max_attempts
        self._patience = patience
        self._same_input: SingleFlight[Verdict] = SingleFlight()
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

    def label(self, message: Mapping[str, Any], redelivered: bool = False) -> Outcome:
        """Take the job in `message` to its end.

        `redelivered`: a worker took it before and did not bring it to an end. Raises TryLater where the
        catalog does not answer.
        """
        job: TrackJob | None = None
        outcome: Outcome
        try:
            with stage("validate"):
                job = _validated(message)
            delivery.started(job.enqueued_at)
            if redelivered:
                self._count_attempt(job, WorkerDied("a worker that had it died, or was ended in the middle"))
            outcome = self._label_or_postpone(job)
        except TrackError as error:
            log.warning("failed: %s", error)
            FAILURES.labels(error.stage, error.error_class).inc()
            failure = _failure(message, job, error)
            self._patiently(lambda: self._catalog.record_failure(failure))
            outcome = "failed"
        TRACKS.labels(outcome).inc()
        return outcome

    def _label_or_postpone(self, job: TrackJob) -> Outcome:
        try:
            return self._label(job)
        except TryLater as error:
            self._count_attempt(job, error.__cause__ or error)
            return "postponed"

    def _count_attempt(self, job: TrackJob, cause: BaseException) -> None:
        """Raises TrackError where the track was tried often enough."""
        log.warning("tried in vain: %s", cause)
        if self._patiently(lambda: self._catalog.give_up(job)) >= self._max_attempts:
            raise TrackError("deliver", cause)

    def _label(self, job: TrackJob) -> Outcome:
        clock = Stopwatch()
        with clock.stage("open"):
            audio = self._store.open(job.audio, self._max_audio_bytes)
            lyrics: Lyrics = (
                self._store.open(job.lyrics, MAX_LYRICS_BYTES)
                if isinstance(job.lyrics, ObjectRef)
                else job.lyrics
            )
            input_hash = _input_hash(audio, lyrics)
        if job.force:
            verdict = self._classify(audio, lyrics, clock)
        else:
            known = self._patiently(lambda: self._catalog.known(job.track_id, input_hash))
            if known and known.own:
                self._patiently(lambda: self._catalog.settle(job.track_id))
                return "skipped"
            verdict = (
                known.verdict
                if known
                else self._same_input.do(input_hash, lambda: self._classify(audio, lyrics, clock))
            )
        with clock.stage("commit"):
            labels = self._model.rule.labels(verdict.prediction.scores)
            classified = Classified(job, input_hash, verdict, labels, clock.milliseconds())
            self._writer.submit(classified).result()
        delivery.committed(job.enqueued_at)
        return "catalogued"

    def _classify(self, audio: StoredObject, lyrics: Lyrics, clock: Stopwatch) -> Verdict:
        with clock.stage("decode"):
            source = TimedSource(StoredSource(self._store, audio))
            clip = self._decoders.decode(source, self._model.manifest.audio)
        clock.part("decode", "fetch", source.seconds)
        with clock.stage("tokenise"):
            ids, use = self._model.read(self._text(lyrics))
        with clock.stage("infer"):
            prediction = self._inference.submit(ModelInput(clip.windows, ids)).result()
            if not np.isfinite(prediction.scores).all():
                raise ValueError("the model's scores are not numbers")
        return Verdict(prediction, use, clip.seconds, self._model.heard_seconds(clip))

    def _text(self, lyrics: Lyrics) -> str | None:
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


def _validated(message: Mapping[str, Any]) -> TrackJob:
    try:
        return TrackJob.model_validate_json(json.dumps(message), strict=True)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise JobInvalid("; ".join(problems)) from error


def _input_hash(audio: StoredObject, lyrics: Lyrics) -> bytes:
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
