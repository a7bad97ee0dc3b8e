"""Leases: a job that is being worked on stays invisible to others for as long as it is.

Redis delivers a job again when the visibility timeout has passed since its lease was last renewed. So the
timeout can be short, and a dead worker's jobs come back soon, while a slow track is not labelled twice.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

log = logging.getLogger(__name__)

RENEWALS = 3
"""In each visibility timeout: two may be missed."""


class Leases:
    """Renews the leases of jobs in flight, from a thread of its own.

    kombu keeps a sorted set of delivery tags, scored by when each was delivered; a lease is renewed by
    scoring its tag anew, if it is still there (tests/worker/queue/test_contracts.py pins this).
    """

    def __init__(
        self, client: Any, index_key: str, timeout: float, on_renewal: Callable[[int], None]
    ) -> None:
        self._client = client
        self._index_key = index_key
        self._interval = timeout / RENEWALS
        self._on_renewal = on_renewal
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
        self._thread.start()

    @contextmanager
    def held(self, delivery_tag: str) -> Iterator[None]:
        """Keep this job's lease while inside."""
        with self._lock:
            self._held.add(delivery_tag)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(delivery_tag)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._closed.wait(self._interval):
            with self._lock:
                now = dict.fromkeys(self._held, time.time())
            if not now:
                continue
            try:
                self._client.zadd(self._index_key, now, xx=True)
                self._on_renewal(len(now))
            except redis.RedisError as error:  # the next round may reach it
                log.warning("leases not renewed: %s", error)
