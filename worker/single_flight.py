"""Threads that need the same result at the same time compute it once.

```
join(key) ─► first thread of the key: leads ─► share(result) ─► context ends: the key is free again
        └──► other threads: follow ──► wait() returns the leader's result, or None if it shared none
```
"""

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Generic, TypeVar

from worker.errors import TryLater

Result = TypeVar("Result")


class Flight(Generic[Result]):
    """A thread's part in a computation that several threads need."""

    def __init__(self, future: Future[Result], leads: bool) -> None:
        self._future = future
        self.leads = leads
        """Whether this thread is the one that computes the result."""

    def share(self, result: Result) -> None:
        """Give the result to the threads that wait. Does nothing if this thread does not lead."""
        if self.leads:
            self._future.set_result(result)

    def wait(self, deadline: float = math.inf) -> Result | None:
        """Return the leader's result; None if the leader failed. Errors of the leader are not shared.

        Raises TryLater if the leader has no result by `deadline`, of time.monotonic().
        """
        try:
            return self._future.result(
                None if deadline == math.inf else max(0.0, deadline - time.monotonic())
            )
        except CancelledError:
            return None
        except TimeoutError as error:
            raise TryLater(
                "another track with the same input was not classified within the time that a track has"
            ) from error


class SingleFlight(Generic[Result]):
    """The computations under way, by key. Safe to share between threads. Keeps no results."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Future[Result]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def join(self, key: bytes) -> Iterator[Flight[Result]]:
        """Join the computation of `key`. The first thread leads until its context ends.

        Until then, threads that join get the leader's result, also after it was shared.
        """
        own: Future[Result] = Future()
        with self._lock:
            future = self._flights.setdefault(key, own)
        if future is not own:
            yield Flight(future, leads=False)
            return
        try:
            yield Flight(own, leads=True)
        finally:
            with self._lock:
                del self._flights[key]
            own.cancel()  # releases the threads that wait, if no result was shared
