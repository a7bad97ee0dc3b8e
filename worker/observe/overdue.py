"""Tracks that are overdue, as a gauge. Counted now and then: a scrape must not wait for the catalog."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redis import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from worker.observe.metrics import OVERDUE_TRACKS
from worker.queue.reconcile import due
from worker.queue.status import Broker

COUNT_SECONDS = 30.0
"""Between two counts."""


@contextmanager
def counted(engine: Engine, broker: Broker) -> Iterator[None]:
    """As long as the context lasts, from a thread of its own."""
    closed = threading.Event()

    def count() -> None:
        while True:
            _count(engine, broker)
            if closed.wait(COUNT_SECONDS):
                return

    thread = threading.Thread(target=count, name="overdue", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


def _count(engine: Engine, broker: Broker) -> None:
    """NaN where nobody can tell: no alert is to be silenced by an old value."""
    try:
        OVERDUE_TRACKS.set(due(engine, broker))
    except (RedisError, SQLAlchemyError):
        OVERDUE_TRACKS.set(math.nan)
