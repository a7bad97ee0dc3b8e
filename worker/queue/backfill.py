"""`cogenre backfill`: enqueues the tracks that a model has not classified, in the queue that is served last.

A track counts as not classified if the model has classified only an older version of its audio or lyrics.
Tracks with an open failure are left to `cogenre failures replay`.

Tracks are read in pages, ordered by id. An interrupted run can be started again, because tracks that the
model has classified in the meantime are skipped. With `after`, the pages that are done are not read again.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import Engine, text

from schemas.jobs import QUEUE_BACKFILL, TrackJob
from worker.catalog.lifecycle import COVERS_SHOWN_INPUT, find_model_id
from worker.queue.enqueue import PAGE_SIZE, publish_jobs

if TYPE_CHECKING:
    from celery import Celery

UNCLASSIFIED = f"""
    from track t
    left join track_current cur on cur.track_id = t.id
    left join classification shown on shown.id = cur.classification_id
    where t.id > :after
      and not exists (
          select from classification c
          where c.track_id = t.id and c.model_id = :model and {COVERS_SHOWN_INPUT}
      )
      and not exists (select from ingest_failure f where f.track_id = t.id and f.resolved_at is null)
"""  # noqa: S608 - a constant

COUNT_REMAINING = text(f"select count(*) {UNCLASSIFIED}")

NEXT_PAGE = text(f"select t.id, t.job {UNCLASSIFIED} order by t.id limit :page")

POLL_SECONDS = 0.5
"""Seconds between two reads of the queue's depth while the queue is full."""


class Backfill:
    """The backfill of one model."""

    def __init__(self, engine: Engine, app: "Celery", label: str, after: str = "") -> None:
        """`label`: NAME:VERSION. Raises ConfigError if the model is not in the catalog or is retired."""
        self._engine = engine
        self._app = app
        self.after = after
        """Id of the last track that is done; "" = none."""
        with engine.connect() as connection:
            self._model = find_model_id(connection, label)

    def count_remaining(self) -> int:
        """Return how many tracks are left to enqueue."""
        with self._engine.connect() as connection:
            result = connection.execute(COUNT_REMAINING, {"after": self.after, "model": self._model})
            return int(result.scalar_one())

    def run(
        self,
        rate: float,
        count_waiting: Callable[[], int],
        max_waiting: int,
        on_published: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Enqueue at most `rate` jobs a second. Return how many were enqueued.

        Pauses while a further page would make the queue longer than `max_waiting` jobs. `count_waiting`
        returns the length of the queue. `on_published` is called after each page with its number of jobs.
        """
        page_size = max(1, min(PAGE_SIZE, int(rate), max_waiting))
        total = 0
        while True:
            started = time.monotonic()
            while count_waiting() > max_waiting - page_size:
                time.sleep(POLL_SECONDS)
            with self._engine.connect() as connection:
                values = {"after": self.after, "model": self._model, "page": page_size}
                page = connection.execute(NEXT_PAGE, values).all()
            if not page:
                return total
            jobs = [job for row in page if (job := _parse_job(row.job)) is not None]
            publish_jobs(self._app, jobs, QUEUE_BACKFILL)
            self.after = page[-1].id
            total += len(jobs)
            on_published(len(jobs))
            time.sleep(max(0.0, started + len(page) / rate - time.monotonic()))


def _parse_job(stored: object) -> TrackJob | None:
    """Return a track's newest job without `force`, so that workers skip it if it is classified by then.

    None if the stored job is not valid, because the track was not registered by cogenre.
    """
    try:
        return TrackJob.model_validate(stored).model_copy(update={"force": False})
    except ValidationError:
        return None
