"""Jobs: what was registered, how often it was tried, when it is due again, and how it failed.

```
            enqueued                     labelled, failed or skipped
  (new) ───────────────► due in an hour ─────────────────────────────► not due
                            ▲   │ ▲ given up: S3 or the catalog away,
         enqueued again     │   │ │ or the worker died
         by the reconciler  │   ▼ │
                            └── due ── too many attempts ──► failed
```

Nothing else is needed to get back a job that Redis or a worker lost.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, text

from schemas.jobs import TrackJob
from worker.errors import JobInvalid, Stage

EXPECTED_WITHIN = timedelta(hours=1)
"""A job that has not come to its end by then may have got lost."""

FIRST_WAIT = timedelta(seconds=30)
"""Before a track that was given up is tried again; doubled each time, up to `EXPECTED_WITHIN`."""

# A job that is known already, as every one that a producer registered, leaves its row as it is.
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

EXPECT = text("update track set due_at = now() + :within where id = any(:ids)")

GIVE_UP = text("""
    update track
    set attempts = attempts + 1,
        due_at = now() + least(:first_wait * power(2, least(attempts, 16)), :longest) * (0.5 + random())
    where id = :id
    returning attempts
""")

# A job that comes to its end late says nothing of a newer one for the same track, which is still expected.
SETTLE = text("""
    update track set attempts = 0, due_at = null
    from unnest(cast(:track_id as text[]), cast(:enqueued_at as timestamptz[])) as ended (id, enqueued_at)
    where track.id = ended.id and track.due_at is not null and track.enqueued_at <= ended.enqueued_at
""")

TAKE_DUE = text("""
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

# Nor does it mend what a newer one failed of. A message that was no job has no time of its own: any job
# mends it, and it takes the place of its like only.
RESOLVE_FAILURES = text("""
    update ingest_failure f set resolved_at = now()
    from unnest(cast(:track_id as text[]), cast(:enqueued_at as timestamptz[])) as ended (id, enqueued_at)
    where f.track_id = ended.id and f.resolved_at is null
      and (f.enqueued_at is null or f.enqueued_at <= ended.enqueued_at)
""")

INSERT_FAILURE = text("""
    insert into ingest_failure (track_id, stage, error_class, reason, payload, enqueued_at)
    values (:track_id, :stage, :error_class, :reason, :payload, :enqueued_at)
""")


@dataclass(frozen=True)
class Failure:
    """A job that ended without labels."""

    job: TrackJob | None
    """None where the message is no job."""
    track_id: str | None
    stage: str
    error_class: str
    reason: str
    payload: str
    """The message as it was received, JSON."""


class JobCatalog:
    """How jobs come to an end, other than by labels. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def give_up(self, job: TrackJob) -> int:
        """Count an attempt that came to nothing and say when the next is due; returns the count."""
        waits = {"first_wait": FIRST_WAIT, "longest": EXPECTED_WITHIN}
        with self._engine.begin() as connection:
            upsert_tracks(connection, [job])
            return int(connection.execute(GIVE_UP, {"id": job.track_id, **waits}).scalar_one())

    def settle(self, job: TrackJob) -> None:
        """The job has nothing left to do: its track has its labels."""
        with self._engine.begin() as connection:
            upsert_tracks(connection, [job])
            mend(connection, {job.track_id: job.enqueued_at})

    def record_failure(self, failure: Failure) -> None:
        """Keep a job that failed. It takes the place of the track's earlier open failure.

        The track first, then its failures, as all who write both: else two of them could deadlock.
        """
        enqueued_at = failure.job.enqueued_at if failure.job else None
        with self._engine.begin() as connection:
            if failure.job is not None:
                upsert_tracks(connection, [failure.job])
                settle(connection, {failure.job.track_id: failure.job.enqueued_at})
            if failure.track_id is not None:
                ended = {"track_id": [failure.track_id], "enqueued_at": [enqueued_at]}
                connection.execute(RESOLVE_FAILURES, ended)
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


def settle(connection: Connection, ended: Mapping[str, datetime]) -> None:
    """These tracks need nothing more for jobs that were enqueued by then: they are not due."""
    connection.execute(SETTLE, {"track_id": list(ended), "enqueued_at": list(ended.values())})


def mend(connection: Connection, ended: Mapping[str, datetime]) -> None:
    """As `settle`, and what jobs enqueued by then failed of is resolved: the tracks have their labels."""
    settle(connection, ended)
    connection.execute(RESOLVE_FAILURES, {"track_id": list(ended), "enqueued_at": list(ended.values())})


def upsert_tracks(connection: Connection, jobs: Iterable[TrackJob]) -> None:
    """Register tracks; what is known of one is replaced where the job is not older."""
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


def expect(connection: Connection, jobs: Sequence[TrackJob]) -> None:
    """These jobs are about to be enqueued."""
    connection.execute(EXPECT, {"ids": [job.track_id for job in jobs], "within": EXPECTED_WITHIN})


def count_due(engine: Engine, before: datetime | None) -> int:
    """How many tracks `take_due` would return."""
    with engine.connect() as connection:
        return int(connection.execute(COUNT_DUE, {"before": before}).scalar_one())


def take_due(engine: Engine, before: datetime | None, limit: int) -> list[TrackJob]:
    """Jobs of tracks that are due, those enqueued before `before` only; each is expected anew from now on.

    Two reconcilers at once share them. A row that holds no job of this release fails, and is not due again.
    """
    due = {"before": before, "limit": limit, "within": EXPECTED_WITHIN}
    while True:
        with engine.begin() as connection:
            rows = connection.execute(TAKE_DUE, due).all()
        jobs = [job for row in rows if (job := _job_of(engine, row.id, row.job))]
        if jobs or not rows:
            return jobs


def _job_of(engine: Engine, track_id: str, kept: object) -> TrackJob | None:
    """None where `kept` is no job: that is recorded."""
    try:
        return TrackJob.model_validate(kept)
    except ValidationError as error:
        reason = f"what the catalog keeps of it is no job: {JobInvalid.of(error)}"
        JobCatalog(engine).record_failure(
            Failure(None, track_id, Stage.RECONCILE, JobInvalid.__name__, reason, json.dumps(kept))
        )
        return None
