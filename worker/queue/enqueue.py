"""Registers and publishes jobs.

A job is registered in the catalog before it is published, so that the reconciler finds a job that Redis lost.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import redis
from pydantic import ValidationError
from sqlalchemy import Engine

from schemas.jobs import QUEUE_TRACKS, TrackJob
from worker.catalog.failures import OpenFailure
from worker.catalog.jobs import set_due, upsert_tracks
from worker.queue.envelope import encode_envelope

if TYPE_CHECKING:
    from celery import Celery

PAGE_SIZE = 500
"""Jobs that are registered in one transaction and then published."""


def parse_failed_jobs(failures: Iterable[OpenFailure]) -> tuple[list[TrackJob], int]:
    """Return the jobs of `failures`, and the number of failures whose message is not a valid job."""
    jobs = []
    invalid = 0
    for failure in failures:
        try:
            jobs.append(TrackJob.model_validate_json(failure.payload, strict=True))
        except ValidationError:
            invalid += 1
    return jobs, invalid


def enqueue(
    engine: Engine,
    app: "Celery",
    jobs: Iterable[TrackJob],
    on_published: Callable[[int], None] = lambda _: None,
) -> int:
    """Register and publish `jobs` in pages of `PAGE_SIZE`. Return how many were published.

    `on_published` is called after each page with its number of jobs. If iterating over `jobs` raises an
    error, the jobs before it are published first.
    """
    total = 0
    page: list[TrackJob] = []

    def publish() -> None:
        nonlocal total
        with engine.begin() as connection:
            upsert_tracks(connection, page)
            set_due(connection, page)
        publish_jobs(app, page, QUEUE_TRACKS)
        total += len(page)
        on_published(len(page))
        page.clear()

    try:
        for job in jobs:
            page.append(job)
            if len(page) == PAGE_SIZE:
                publish()
    finally:
        if page:
            publish()
    return total


def publish_jobs(app: "Celery", jobs: Iterable[TrackJob], queue: str) -> None:
    """Push registered jobs to `queue` in one command: all of them or none.

    Celery's `send_task` uses one command per job and takes twice as long. Raises
    redis.RedisError.
    """
    from kombu.exceptions import OperationalError

    envelopes = [encode_envelope(job, queue) for job in jobs]
    if envelopes:
        try:
            with app.producer_or_acquire() as producer:
                producer.channel.client.lpush(queue, *envelopes)
        except OperationalError as error:  # kombu raises its own error if it cannot connect
            raise redis.ConnectionError(str(error)) from error
