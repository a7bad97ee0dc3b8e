"""`cogenre backfill`: jobs for the tracks that a model has not classified, in the queue that is served last.

Pages go by track id. A track that the model has classified meanwhile is passed over, so that a run which was
broken off is taken up by the next; `after` spares it the pages that are done. Tracks whose failure is open
are left to `cogenre failures replay`.
"""

import time
from collections.abc import Callable

from celery import Celery
from pydantic import ValidationError
from sqlalchemy import Engine, text

from schemas.jobs import QUEUE_BACKFILL, TrackJob
from worker.catalog.lifecycle import model_id
from worker.enqueue import PAGE, publish_jobs

REMAINING = text("""
    select count(*) from track t
    where t.id > :after
      and not exists (select from classification c where c.track_id = t.id and c.model_id = :model)
      and not exists (select from ingest_failure f where f.track_id = t.id and f.resolved_at is null)
""")

NEXT_PAGE = text("""
    select t.id, t.job from track t
    where t.id > :after
      and not exists (select from classification c where c.track_id = t.id and c.model_id = :model)
      and not exists (select from ingest_failure f where f.track_id = t.id and f.resolved_at is null)
    order by t.id
    limit :page
""")

LOOK_AGAIN_SECONDS = 0.5
"""While the queue is full."""


class Backfill:
    """One model's way through the catalog."""

    def __init__(self, engine: Engine, app: Celery, label: str, after: str = "") -> None:
        """Raises ConfigError where the catalog knows no such model, or it is retired."""
        self._engine = engine
        self._app = app
        self.after = after
        """The last track that is done."""
        with engine.connect() as connection:
            self._model = model_id(connection, label)

    def remaining(self) -> int:
        """Tracks to enqueue."""
        with self._engine.connect() as connection:
            found = connection.execute(REMAINING, {"after": self.after, "model": self._model})
            return int(found.scalar_one())

    def run(
        self,
        rate: float,
        waiting: Callable[[], int],
        most_waiting: int,
        published: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Enqueue at most `rate` jobs a second, and none while `most_waiting` of them wait; returns how many.

        `waiting` says how many do. `published` hears of every page's size.
        """
        size = max(1, min(PAGE, int(rate), most_waiting))
        total = 0
        while True:
            started = time.monotonic()
            while waiting() > most_waiting - size:
                time.sleep(LOOK_AGAIN_SECONDS)
            with self._engine.connect() as connection:
                values = {"after": self.after, "model": self._model, "page": size}
                page = connection.execute(NEXT_PAGE, values).all()
            if not page:
                return total
            jobs = [job for row in page if (job := _job(row.job)) is not None]
            publish_jobs(self._app, jobs, QUEUE_BACKFILL)
            self.after = page[-1].id
            total += len(jobs)
            published(len(jobs))
            time.sleep(max(0.0, started + len(page) / rate - time.monotonic()))


def _job(kept: object) -> TrackJob | None:
    """The track's newest job, without its `force`: what the model has seen meanwhile is to be skipped."""
    try:
        return TrackJob.model_validate(kept).model_copy(update={"force": False})
    except ValidationError:  # registered by another hand, with no job that could be run
        return None
