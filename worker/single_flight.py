"""Several threads that want the same at once do it once."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Generic, TypeVar

from worker.errors import TryLater

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._flying: dict[bytes, Future[Result]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def shared(self, key: bytes, call: Callable[[], Result], deadline: float = math.inf) -> Iterator[Result]:
        """What `call` returns, here or in the thread that is doing it for this key already.

        The thread that called goes on giving it to others until its context ends. Errors are not shared:
        a call may fail for a reason of its own, such as a copy of the audio that is gone. Then each of the
        others calls for itself.

        Raises TryLater where the other thread is not done by `deadline`, of time.monotonic().
        """
        ours: Future[Result] = Future()
        with self._lock:
            flying = self._flying.setdefault(key, ours)
        if flying is not ours:
            yield flying.result() if _succeeded(flying, deadline) else call()
            return
        try:
            ours.set_result(call())
            yield ours.result()
        finally:
            with self._lock:
                del self._flying[key]
            ours.cancel()  # does nothing but where the call failed


def _succeeded(flying: Future[Result], deadline: float) -> bool:
    """Waits for its end."""
    try:
        flying.result(None if deadline == math.inf else max(0, deadline - time.monotonic()))
    except CancelledError:
        return False
    except TimeoutError as error:
        raise TryLater("a track of the same input is not done in the time that a track has") from error
    return True
