"""Gauges of the queues and of overdue tracks. Both are NaN while they cannot be read.

The last value would be wrong, because it could prevent an alert. 0 would be wrong, because an outage would
look like an empty queue.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redis import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from worker.observe.metrics import (
    DEAD_LETTER_MESSAGES,
    OVERDUE_TRACKS,
    QUEUE_JOBS,
    QUEUE_OLDEST_SECONDS,
    UNACKED_JOBS,
)
from worker.queue.broker import QUEUES
from worker.queue.reconcile import count_overdue
from worker.queue.status import QueueMonitor

OVERDUE_INTERVAL_SECONDS = 30.0
"""Seconds between two counts of overdue tracks."""


def update_queue_gauges(monitor: QueueMonitor) -> None:
    """Set the gauges of the queues from Redis. Called before each scrape."""
    try:
        state = monitor.read_state()
    except RedisError:
        for queue in QUEUES:
            QUEUE_JOBS.labels(queue).set(math.nan)
            QUEUE_OLDEST_SECONDS.labels(queue).set(math.nan)
        UNACKED_JOBS.set(math.nan)
        DEAD_LETTER_MESSAGES.set(math.nan)
        return
    for queue, jobs in state.queues.items():
        QUEUE_JOBS.labels(queue).set(jobs.waiting)
        QUEUE_OLDEST_SECONDS.labels(queue).set(jobs.oldest_seconds or 0)
    UNACKED_JOBS.set(state.in_flight)
    DEAD_LETTER_MESSAGES.set(state.dead_letters)


@contextmanager
def overdue_gauge(engine: Engine, monitor: QueueMonitor) -> Iterator[None]:
    """Update the gauge of overdue tracks, in a thread of its own, while the context is open.

    The gauge is not updated before each scrape, because a scrape must not wait for the catalog.
    """
    closed = threading.Event()

    def update_until_closed() -> None:
        while True:
            _update_overdue(engine, monitor)
            if closed.wait(OVERDUE_INTERVAL_SECONDS):
                return

    thread = threading.Thread(target=update_until_closed, name="overdue", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


def _update_overdue(engine: Engine, monitor: QueueMonitor) -> None:
    try:
        OVERDUE_TRACKS.set(count_overdue(engine, monitor))
    except (RedisError, SQLAlchemyError):
        OVERDUE_TRACKS.set(math.nan)
