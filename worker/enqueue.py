"""Jobs into the queue: registered in the catalog first, so that one gets lost is known to be missing."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from celery import Celery
from pydantic import ValidationError
from sqlalchemy import Engine

from schemas.jobs import QUEUE_TRACKS, TASK_NAME, TrackJob
from worker.catalog.tracks import upsert_tracks
from worker.errors import ConfigError

PAGE = 500
"""Jobs registered in one transaction, then published."""


def read_jobs(lines: Iterable[str]) -> Iterator[TrackJob]:
    """Jobs from JSON lines; `schema_version` and `enqueued_at` may be left out.

    Raises ConfigError at the first line that is no job, naming it.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise TypeError("not a JSON object")
            yield TrackJob.model_validate({"schema_version": 1, "enqueued_at": datetime.now(UTC), **fields})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"line {number}: {where}: {first['msg']} (see schemas/track_job.schema.json)"
            ) from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"line {number} is no JSON object: {error}") from None


def enqueue(
    engine: Engine, app: Celery, jobs: Iterable[TrackJob], published: Callable[[int], None] = lambda _: None
) -> int:
    """Register and publish `jobs` in pages; returns how many. `published` hears of every page's size.

    An error in `jobs` is raised after all jobs before it were published.
    """
    total = 0
    page: list[TrackJob] = []

    def publish() -> None:
        nonlocal total
        with engine.begin() as connection:
            upsert_tracks(connection, page)
        with app.producer_or_acquire() as producer:
            for job in page:
                app.send_task(
                    TASK_NAME, kwargs=job.model_dump(mode="json"), queue=QUEUE_TRACKS, producer=producer
                )
        total += len(page)
        published(len(page))
        page.clear()

    try:
        for job in jobs:
            page.append(job)
            if len(page) == PAGE:
                publish()
    finally:
        if page:
            publish()
    return total
