"""Jobs into the queue: registered in the catalog first, so that one that gets lost is known to be missing."""

from collections.abc import Callable, Iterable

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from sqlalchemy import Engine

from schemas.jobs import QUEUE_TRACKS, TrackJob
from worker.catalog.failures import OpenFailure
from worker.catalog.jobs import expect, upsert_tracks
from worker.queue.envelope import envelope

PAGE = 500
"""Jobs registered in one transaction, then published."""


def replayable(failures: Iterable[OpenFailure]) -> tuple[list[TrackJob], int]:
    """The jobs of failures, and the number of those whose message was no job."""
    jobs = []
    hopeless = 0
    for failure in failures:
        try:
            jobs.append(TrackJob.model_validate_json(failure.payload, strict=True))
        except ValidationError:
            hopeless += 1
    return jobs, hopeless


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
            expect(connection, page)
        publish_jobs(app, page, QUEUE_TRACKS)
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


def publish_jobs(app: Celery, jobs: Iterable[TrackJob], queue: str) -> None:
    """Push jobs that the catalog knows, all or none. Celery would send each for itself, half as fast.

    Raises redis.RedisError.
    """
    envelopes = [envelope(job, queue) for job in jobs]
    if envelopes:
        try:
            with app.producer_or_acquire() as producer:
                producer.channel.client.lpush(queue, *envelopes)
        except OperationalError as error:  # kombu's own, where it cannot even connect
            raise redis.ConnectionError(str(error)) from error
