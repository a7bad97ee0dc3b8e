import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.worker.processes import wait_until
from worker.errors import TryLater
from worker.single_flight import SingleFlight


class TwoThreads:
    """A first thread that leads the key `k`, and a second one that joins while the first one computes.

    `error`: raised by the first thread's computation.
    """

    def __init__(self, threads: ThreadPoolExecutor, error: Exception | None = None) -> None:
        self.flights: SingleFlight[int] = SingleFlight()
        self.gate = threading.Event()
        self.calls = 0
        self.error = error
        self.first: Future[int] = threads.submit(self.run)
        wait_until(lambda: self.calls == 1)
        self.second: Future[int] = threads.submit(self.run)
        shared = self.flights._flights[b"k"]
        wait_until(lambda: len(shared._condition._waiters) > 0)  # type: ignore[attr-defined]

    def run(self) -> int:
        with self.flights.join(b"k") as flight:
            result = None if flight.leads else flight.wait()
            if result is None:
                result = self.compute()
            flight.share(result)
            return result

    def compute(self) -> int:
        self.calls += 1
        first = self.calls == 1
        assert self.gate.wait(10)
        if self.error and first:
            raise self.error
        return 7


def test_threads_that_need_the_same_result_compute_it_once() -> None:
    with ThreadPoolExecutor(2) as threads:
        both = TwoThreads(threads)
        with both.flights.join(b"another") as flight:
            assert flight.leads, "other keys do not wait"
        both.gate.set()
        assert [both.first.result(10), both.second.result(10)] == [7, 7]
    assert both.calls == 1
    with both.flights.join(b"k") as flight:
        assert flight.leads, "no result is kept"


def test_a_result_is_shared_until_the_leader_leaves() -> None:
    flights: SingleFlight[int] = SingleFlight()
    with flights.join(b"k") as leader:
        assert leader.leads
        leader.share(7)
        for value in (8, 9):  # the first one that follows does not end the flight
            with flights.join(b"k") as follower:
                assert not follower.leads
                assert follower.wait() == 7
                follower.share(value)


def test_an_error_of_the_leader_is_not_shared() -> None:
    with ThreadPoolExecutor(2) as threads:
        both = TwoThreads(threads, error=ValueError("its own copy is deleted"))
        both.gate.set()
        with pytest.raises(ValueError, match="its own copy is deleted"):
            both.first.result(10)
        assert both.second.result(10) == 7
    assert both.calls == 2
    with both.flights.join(b"k") as flight:
        assert flight.leads, "no error is kept"


def test_waiting_for_the_leader_ends_at_the_deadline() -> None:
    flights: SingleFlight[int] = SingleFlight()
    with flights.join(b"k") as leader:
        with (
            flights.join(b"k") as follower,
            pytest.raises(TryLater, match="another track with the same input"),
        ):
            follower.wait(time.monotonic() + 0.1)
        leader.share(7)
        with flights.join(b"k") as follower:
            assert follower.wait(time.monotonic()) == 7
