"""Stores the jobs of registered tracks: their attempts, when they are due again, and failures.

```
            enqueued                   classified, failed or skipped
  (new) ───────────────► due in an hour ─────────────────────────────► not due
                            ▲   │ ▲ attempt failed: S3 or the catalog unavailable,
         enqueued again     │   │ │ or the worker died
         by the reconciler  │   ▼ │
                            └── due ── too many attempts ──► failed
```

The reconciler needs only `due_at` to recover a job that Redis or a worker lost.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, text

from schemas.jobs import TrackJob
from worker.errors import JobInvalid, Stage

DUE_AFTER = timedelta(hours=1)
"""Time after which an enqueued job that is not finished is due again, because it may be lost."""

FIRST_RETRY_AFTER = timedelta(seconds=30)
"""Delay after the first failed attempt. It doubles with each further attempt, up to `DUE_AFTER`."""

# An unchanged job does not update the row, because most jobs were registered when they were enqueued.
UPSERT_TRACKS = text("""
    insert into track (id, title, artist, album, isrc, language, job, enqueued_at)
    select id, title, artist, album, isrc, language, job, enqueued_at
    from rows from (
        unnest(
            cast(:id as text[]), cast(:title as text[]), cast(:artist as text[]), cast(:album as text[]),
            cast(:isrc as text[]), cast(:language as text[]), cast(:enqueued_at as timestamptz[])
        ),
        jsonb_array_elements(cast(:job as jsonb))
    ) as given (id, title, artist, album, isrc, language, enqueued_at, job)
    order by id
    on conflict (id) do update
    set title = excluded.title, artist = excluded.artist, album = excluded.album, isrc = excluded.isrc,
        language = excluded.language, job = excluded.job, enqueued_at = excluded.enqueued_at
    where excluded.enqueued_at >= track.enqueued_at and excluded.job <> track.job
""")

SET_DUE = text("update track set due_at = now() + :within where id = any(:ids)")

COUNT_ATTEMPT = text("""
    update track
    set attempts = attempts + 1,
        due_at = now() + least(:first_wait * power(2, least(attempts, 16)), :longest) * (0.5 + random())
    where id = :id
    returning attempts
""")

# A late job leaves `due_at` as it is if a newer job of the same track is still unfinished.
CLEAR_DUE = text("""
    update track set attempts = 0, due_at = null
    from unnest(cast(:track_id as text[]), cast(:enqueued_at as timestamptz[])) as finished (id, enqueued_at)
    where track.id = finished.id and track.due_at is not null and track.enqueued_at <= finished.enqueued_at
""")

CLAIM_DUE = text("""
    update track set due_at = now() + :within
    where id in (
        select id from track
        where due_at < now() and (cast(:before as timestamptz) is null or enqueued_at < :before)
        order by due_at
        limit :limit
        for update skip locked
    )
    returning id, job
""")

COUNT_DUE = text("""
    select count(*) from track
    where due_at < now() and (cast(:before as timestamptz) is null or enqueued_at < :before)
""")

# A job resolves only failures of the same track that are not newer than itself. Failures of invalid messages
# have no `enqueued_at`, so any job of the track resolves them; they resolve only failures like themselves.
RESOLVE_FAILURES = text("""
    update ingest_failure f set resolved_at = now()
    from unnest(cast(:track_id as text[]), cast(:enqueued_at as timestamptz[])) as finished (id, enqueued_at)
    where f.track_id = finished.id and f.resolved_at is null
      and (f.enqueued_at is null or f.enqueued_at <= finished.enqueued_at)
""")

INSERT_FAILURE = text("""
    insert into ingest_failure (track_id, stage, error_class, reason, payload, enqueued_at)
    values (:track_id, :stage, :error_class, :reason, :payload, :enqueued_at)
""")


@dataclass(frozen=True)
class Failure:
    """A failed job."""

    job: TrackJob | None
    """The job; None if the message is not a valid job."""
    track_id: str | None
    stage: str
    error_class: str
    reason: str
    payload: str
    """The message as received, JSON."""


class JobCatalog:
    """Records the outcome of jobs for which no labels are committed. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count_attempt(self, job: TrackJob) -> int:
        """Count a failed attempt and set when the track is due again. Return the number of attempts."""
        waits = {"first_wait": FIRST_RETRY_AFTER, "longest": DUE_AFTER}
        with self._engine.begin() as connection:
            upsert_tracks(connection, [job])
            return int(connection.execute(COUNT_ATTEMPT, {"id": job.track_id, **waits}).scalar_one())

    def mark_finished(self, job: TrackJob) -> None:
        """Mark a job as finished, because its track already has the labels."""
        with self._engine.begin() as connection:
            upsert_tracks(connection, [job])
            finish_tracks(connection, {job.track_id: job.enqueued_at})

    def record_failure(self, failure: Failure) -> None:
        """Record a failed job. It resolves the earlier open failures of the track.

        Every writer writes the track before its failures, so that two writers cannot deadlock.
        """
        enqueued_at = failure.job.enqueued_at if failure.job else None
        with self._engine.begin() as connection:
            if failure.job is not None:
                upsert_tracks(connection, [failure.job])
                clear_due(connection, {failure.job.track_id: failure.job.enqueued_at})
            if failure.track_id is not None:
                finished = {"track_id": [failure.track_id], "enqueued_at": [enqueued_at]}
                connection.execute(RESOLVE_FAILURES, finished)
            connection.execute(
                INSERT_FAILURE,
                {
                    "track_id": failure.track_id,
                    "stage": failure.stage,
                    "error_class": failure.error_class,
                    "reason": failure.reason,
                    "payload": failure.payload,
                    "enqueued_at": enqueued_at,
                },
            )


def clear_due(connection: Connection, finished: Mapping[str, datetime]) -> None:
    """Clear `due_at` and `attempts` of tracks, unless a job newer than `finished[track_id]` is registered."""
    connection.execute(CLEAR_DUE, {"track_id": list(finished), "enqueued_at": list(finished.values())})


def finish_tracks(connection: Connection, finished: Mapping[str, datetime]) -> None:
    """Clear `due_at` of tracks with labels. Resolve failures of jobs not newer than `finished[track_id]`."""
    clear_due(connection, finished)
    connection.execute(RESOLVE_FAILURES, {"track_id": list(finished), "enqueued_at": list(finished.values())})


def upsert_tracks(connection: Connection, jobs: Iterable[TrackJob]) -> None:
    """Insert or update the tracks of `jobs`. An older job does not replace a newer one."""
    newest: dict[str, TrackJob] = {}
    for job in jobs:
        if job.track_id not in newest or job.enqueued_at >= newest[job.track_id].enqueued_at:
            newest[job.track_id] = job
    rows = list(newest.values())
    connection.execute(
        UPSERT_TRACKS,
        {
            "id": [job.track_id for job in rows],
            "title": [job.title for job in rows],
            "artist": [job.artist for job in rows],
            "album": [job.album for job in rows],
            "isrc": [job.isrc for job in rows],
            "language": [job.language for job in rows],
            "job": f"[{','.join(job.model_dump_json() for job in rows)}]",
            "enqueued_at": [job.enqueued_at for job in rows],
        },
    )


def set_due(connection: Connection, jobs: Sequence[TrackJob]) -> None:
    """Make the tracks of the jobs due after `DUE_AFTER`. Called before the jobs are enqueued."""
    connection.execute(SET_DUE, {"ids": [job.track_id for job in jobs], "within": DUE_AFTER})


def count_due(engine: Engine, before: datetime | None) -> int:
    """Return how many tracks `claim_due` would return without a limit."""
    with engine.connect() as connection:
        return int(connection.execute(COUNT_DUE, {"before": before}).scalar_one())


def claim_due(engine: Engine, before: datetime | None, limit: int) -> list[TrackJob]:
    """Return jobs of due tracks enqueued before `before` (None = any), and set the tracks due later.

    Concurrent reconcilers get different tracks. A row without a valid job is recorded as a failure.
    """
    due = {"before": before, "limit": limit, "within": DUE_AFTER}
    while True:
        with engine.begin() as connection:
            rows = connection.execute(CLAIM_DUE, due).all()
        jobs = [job for row in rows if (job := _parse_job(engine, row.id, row.job))]
        if jobs or not rows:
            return jobs


def _parse_job(engine: Engine, track_id: str, stored: object) -> TrackJob | None:
    """Return the job of a row; None, after recording a failure, if it is not valid."""
    try:
        return TrackJob.model_validate(stored)
    except ValidationError as error:
        reason = f"the job stored in the catalog is not valid: {JobInvalid.from_validation_error(error)}"
        JobCatalog(engine).record_failure(
            Failure(None, track_id, Stage.RECONCILE, JobInvalid.__name__, reason, json.dumps(stored))
        )
        return None
