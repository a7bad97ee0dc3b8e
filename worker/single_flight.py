"""Computes a result once, if several threads need it at the same time.

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
        """Whether this thread computes the result."""

    def share(self, result: Result) -> None:
        """Pass the result to the waiting threads. Does nothing if this thread does not lead."""
        if self.leads:
            self._future.set_result(result)

    def wait(self, deadline: float = math.inf) -> Result | None:
        """Return the leader's result; None if the leader failed. The leader's error is not passed on.

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
                "another track with the same input was not classified before the deadline of this track "
                "(COGENRE_TRACK_SECONDS)"
            ) from error


class SingleFlight(Generic[Result]):
    """The running computations, by key. Safe to share between threads. Stores no results after they end."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Future[Result]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def join(self, key: bytes) -> Iterator[Flight[Result]]:
        """Join the computation of `key`. The first thread leads until its context ends.

        A thread that joins before that gets the leader's result, even if it was shared already.
        """
        new: Future[Result] = Future()
        with self._lock:
            future = self._flights.setdefault(key, new)
        if future is not new:
            yield Flight(future, leads=False)
            return
        try:
            yield Flight(new, leads=True)
        finally:
            with self._lock:
                del self._flights[key]
            new.cancel()  # releases the threads that wait, if no result was shared
