"""Several threads that want the same at once do it once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
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
        """What `call` returns or raises, here or in the thread that is doing it for this key already.

        The thread that called goes on giving it to others until its context ends.
        """
        with self._lock:
            flying = self._flying.get(key)
            if flying is None:
                ours = self._flying[key] = Future()
        if flying is not None:
            yield flying.result()
            return
        try:
            try:
                result = call()
            except BaseException as error:
                ours.set_exception(error)
                raise
            ours.set_result(result)
            yield result
        finally:
            with self._lock:
                del self._flying[key]
