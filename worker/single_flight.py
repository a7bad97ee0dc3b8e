"""Several threads that want the same at once do it once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._flying: dict[bytes, Future[Result]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def shared(self, key: bytes, call: Callable[[], Result]) -> Iterator[Result]:
        """What `call` returns, here or in the thread that is doing it for this key already.

        The thread that called goes on giving it to others until its context ends. Errors are not shared:
        a call may fail for a reason of its own, such as a copy of the audio that is gone. Then each of the
        others calls for itself.
        """
        ours: Future[Result] = Future()
        with self._lock:
            flying = self._flying.setdefault(key, ours)
        if flying is not ours:
            yield flying.result() if _succeeded(flying) else call()
            return
        try:
            ours.set_result(call())
            yield ours.result()
        finally:
            with self._lock:
                del self._flying[key]
            ours.cancel()  # does nothing but where the call failed


def _succeeded(flying: Future[Result]) -> bool:
    """Waits for its end."""
    try:
        flying.result()
    except CancelledError:
        return False
    return True
