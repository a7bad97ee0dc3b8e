import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.worker.processes import wait_until
from worker.errors import TryLater
from worker.single_flight import SingleFlight


class Flight:
    """A first thread that does `work` for the key `k`, and a second that wants the same meanwhile.

    `error` is the first one's.
    """

    def __init__(self, threads: ThreadPoolExecutor, error: Exception | None = None) -> None:
        self.flights: SingleFlight[int] = SingleFlight()
        self.gate = threading.Event()
        self.calls = 0
        self.error = error
        self.first: Future[int] = threads.submit(self.once)
        wait_until(lambda: self.calls == 1)
        self.second: Future[int] = threads.submit(self.once)
        shared = self.flights._flying[b"k"]
        wait_until(lambda: len(shared._condition._waiters) > 0)  # type: ignore[attr-defined]

    def once(self) -> int:
        with self.flights.shared(b"k", self.work) as result:
            return result

    def work(self) -> int:
        self.calls += 1
        first = self.calls == 1
        assert self.gate.wait(10)
        if self.error and first:
            raise self.error
        return 7


def test_threads_that_want_the_same_share_one_call() -> None:
    with ThreadPoolExecutor(2) as threads:
        flight = Flight(threads)
        with flight.flights.shared(b"another", lambda: 1) as result:
            assert result == 1, "other keys do not wait"
        flight.gate.set()
        assert [flight.first.result(10), flight.second.result(10)] == [7, 7]
    assert flight.calls == 1
    with flight.flights.shared(b"k", lambda: 2) as result:
        assert result == 2, "nothing is remembered"


def test_a_result_is_shared_until_who_made_it_is_done_with_it() -> None:
    flights: SingleFlight[int] = SingleFlight()
    with flights.shared(b"k", lambda: 7):
        with flights.shared(b"k", lambda: 8) as result:
            assert result == 7
        with flights.shared(b"k", lambda: 9) as result:
            assert result == 7, "one that shared it does not end it"


def test_an_error_is_its_threads_own() -> None:
    with ThreadPoolExecutor(2) as threads:
        flight = Flight(threads, error=ValueError("its own copy is gone"))
        flight.gate.set()
        with pytest.raises(ValueError, match="its own copy is gone"):
            flight.first.result(10)
        assert flight.second.result(10) == 7
    assert flight.calls == 2
    with flight.flights.shared(b"k", lambda: 2) as result:
        assert result == 2, "nor is an error remembered"


def test_waiting_for_another_thread_ends_in_time() -> None:
    flights: SingleFlight[int] = SingleFlight()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        assert go_on.wait(10)
        return 7

    def first() -> int:
        with flights.shared(b"k", slow) as result:
            return result

    with ThreadPoolExecutor(1) as threads:
        leader = threads.submit(first)
        assert begun.wait(10)
        with pytest.raises(TryLater), flights.shared(b"k", lambda: 8, time.monotonic() + 0.1):
            pass
        go_on.set()
        assert leader.result(10) == 7
