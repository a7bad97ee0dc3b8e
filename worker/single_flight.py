"""Several threads that want the same at once do it once."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._flying: dict[bytes, Future[Result]] = {}
        self._lock = threading.Lock()

    def do(self, key: bytes, call: Callable[[], Result]) -> Result:
        """What `call` returns or raises, here or in the thread that is doing it for this key already."""
        with self._lock:
            flying = self._flying.get(key)
            if flying is None:
                ours = self._flying[key] = Future()
        if flying is not None:
            return flying.result()
        try:
            result = call()
        except BaseException as error:
            ours.set_exception(error)
            raise
        else:
            ours.set_result(result)
            return result
        finally:
            with self._lock:
                del self._flying[key]
