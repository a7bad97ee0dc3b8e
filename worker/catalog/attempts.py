"""Tracks that have not come to an end: how often each was tried, and when it is due again.

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

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from schemas.jobs import TrackJob

EXPECTED_WITHIN = timedelta(hours=1)
"""A job that has not come to its end by then may have got lost."""

FIRST_WAIT = timedelta(seconds=30)
"""Before a track that was given up is tried again; doubled each time, up to `EXPECTED_WITHIN`."""

EXPECT = text("update track set due_at = now() + :within where id = any(:ids)")

GIVE_UP = text("""
    update track
    set attempts = attempts + 1,
        due_at = now() + least(:first_wait * power(2, least(attempts, 16)), :longest) * (0.5 + random())
    where id = :id
    returning attempts
""")

SETTLE = text("""
    update track set attempts = 0, due_at = null where id = any(:ids) and due_at is not null
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


def expect(connection: Connection, jobs: Sequence[TrackJob]) -> None:
    """These jobs are about to be enqueued."""
    connection.execute(EXPECT, {"ids": [job.track_id for job in jobs], "within": EXPECTED_WITHIN})


def give_up(connection: Connection, track_id: str) -> int:
    """Count an attempt that came to nothing and say when the next is due; returns the count."""
    waits = {"first_wait": FIRST_WAIT, "longest": EXPECTED_WITHIN}
    return int(connection.execute(GIVE_UP, {"id": track_id, **waits}).scalar_one())


def settle(connection: Connection, track_ids: Sequence[str]) -> None:
    """These tracks have come to an end: they are not due."""
    connection.execute(SETTLE, {"ids": list(track_ids)})


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
