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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from schemas.jobs import TrackJob

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

SETTLE = text("""
    update track set attempts = 0, due_at = null where id = any(:track_id) and due_at is not null
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
    returning job
""")

COUNT_DUE = text("""
    select count(*) from track
    where due_at < now() and (cast(:before as timestamptz) is null or enqueued_at < :before)
""")

RESOLVE_FAILURES = text("""
    update ingest_failure set resolved_at = now() where track_id = any(:track_id) and resolved_at is null
""")

INSERT_FAILURE = text("""
    insert into ingest_failure (track_id, stage, error_class, reason, payload)
    values (:track_id, :stage, :error_class, :reason, :payload)
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

    def settle(self, track_id: str) -> None:
        """The track needs nothing more: it is not due."""
        with self._engine.begin() as connection:
            connection.execute(SETTLE, {"track_id": [track_id]})

    def record_failure(self, failure: Failure) -> None:
        """Keep a job that failed. It takes the place of the track's earlier open failure."""
        with self._engine.begin() as connection:
            if failure.job is not None:
                upsert_tracks(connection, [failure.job])
            if failure.track_id is not None:
                connection.execute(RESOLVE_FAILURES, {"track_id": [failure.track_id]})
                connection.execute(SETTLE, {"track_id": [failure.track_id]})
            connection.execute(
                INSERT_FAILURE,
                {
                    "track_id": failure.track_id,
                    "stage": failure.stage,
                    "error_class": failure.error_class,
                    "reason": failure.reason,
                    "payload": failure.payload,
                },
            )


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

    Two reconcilers at once share them.
    """
    with engine.begin() as connection:
        rows = connection.execute(
            TAKE_DUE, {"before": before, "limit": limit, "within": EXPECTED_WITHIN}
        ).scalars()
        return [TrackJob.model_validate(job) for job in rows]
