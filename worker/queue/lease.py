"""Renews the leases of messages that this worker processes, so that no other worker receives them.

Redis delivers a message again when the visibility timeout has passed since its lease was last renewed. The
worker renews the leases of its jobs in a thread. So the timeout can be short: the jobs of a dead worker are
delivered again soon, and yet a job that takes longer than the timeout is not delivered twice.

```
delivered ─► leased ─┬─ finished ──────────────────────► acknowledged, removed
               ▲     │
               └─────┤ renewed, RENEWALS_PER_TIMEOUT times per timeout
                     └─ not renewed within the timeout ─► delivered again
```
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

log = logging.getLogger(__name__)

RENEWALS_PER_TIMEOUT = 3
"""Renewals in each visibility timeout. Two consecutive renewals may fail without an effect."""


class LeaseRenewer:
    """A thread that renews the leases of jobs in flight.

    kombu keeps a sorted set of delivery tags with the time of delivery as score. Renewing a lease sets the
    score to now, if the tag is still in the set (tests/worker/queue/test_contracts.py checks this layout).
    """

    def __init__(
        self, client: Any, index_key: str, timeout: float, on_renewal: Callable[[int], None]
    ) -> None:
        """`timeout`: visibility timeout, in seconds. `on_renewal` is called with each number of renewals."""
        self._client = client
        self._index_key = index_key
        self._interval = timeout / RENEWALS_PER_TIMEOUT
        self._on_renewal = on_renewal
        self._tags: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_closed, name="leases", daemon=True)
        self._thread.start()

    @contextmanager
    def hold(self, delivery_tag: str) -> Iterator[None]:
        """Renew the lease of this message while the context is open."""
        with self._lock:
            self._tags.add(delivery_tag)
        try:
            yield
        finally:
            with self._lock:
                self._tags.discard(delivery_tag)

    def close(self) -> None:
        """Stop renewing and wait for the thread to end."""
        self._closed.set()
        self._thread.join()

    def _renew_until_closed(self) -> None:
        while not self._closed.wait(self._interval):
            with self._lock:
                scores = dict.fromkeys(self._tags, time.time())
            if not scores:
                continue
            try:
                self._client.zadd(self._index_key, scores, xx=True)
                self._on_renewal(len(scores))
            except redis.RedisError as error:
                log.warning(
                    "%d leases were not renewed: %s; next attempt in %.0f s",
                    len(scores),
                    error,
                    self._interval,
                )
