"""`cogenre backfill`: jobs for the tracks that a model has not classified, in the queue that is served last.

A track of which it knows an older master only is one of them. Pages go by track id. What the model has
classified meanwhile is passed over, so that a run which was broken off is taken up by the next; `after`
spares it the pages that are done. Tracks whose failure is open are left to `cogenre failures replay`.
"""

import time
from collections.abc import Callable

from celery import Celery
from pydantic import ValidationError
from sqlalchemy import Engine, text

from schemas.jobs import QUEUE_BACKFILL, TrackJob
from worker.catalog.lifecycle import SEES_WHAT_IS_SHOWN, model_id
from worker.queue.enqueue import PAGE, publish_jobs

UNSEEN = f"""
    from track t
    left join track_current cur on cur.track_id = t.id
    left join classification shown on shown.id = cur.classification_id
    where t.id > :after
      and not exists (
          select from classification c
          where c.track_id = t.id and c.model_id = :model and {SEES_WHAT_IS_SHOWN}
      )
      and not exists (select from ingest_failure f where f.track_id = t.id and f.resolved_at is null)
"""  # noqa: S608 - a constant

REMAINING = text(f"select count(*) {UNSEEN}")

NEXT_PAGE = text(f"select t.id, t.job {UNSEEN} order by t.id limit :page")

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
