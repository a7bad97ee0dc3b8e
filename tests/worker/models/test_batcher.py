import threading
import time
from concurrent.futures import Future

import pytest

from worker.errors import DeadlinePassed, TryLater
from worker.models.batcher import Batcher


def select_all(waiting: list[int]) -> list[int]:
    return list(range(len(waiting)))


class Doubler:
    """Doubles numbers. Records its groups, raises on `bad`, and waits for `gate` before each run."""

    def __init__(self, bad: int | None = None, error: type[Exception] = ValueError) -> None:
        self.bad = bad
        self.error = error
        self.groups: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, group: list[int]) -> list[int]:
        assert self.gate.wait(10)
        self.groups.append(group)
        if self.bad in group:
            raise self.error(f"{self.bad} is bad")
        return [2 * number for number in group]


def submit_while_busy(batcher: Batcher[int, int], doubler: Doubler, requests: range) -> list[Future[int]]:
    """Submit a first request that keeps the thread busy, then all others, then open the gate."""
    doubler.gate.clear()
    futures = [batcher.submit(requests[0])]
    while batcher.queue_length:
        pass  # until the thread runs it
    futures += [batcher.submit(request) for request in requests[1:]]
    doubler.gate.set()
    return futures


def test_a_single_request_does_not_wait_for_others() -> None:
    doubler = Doubler()
    batcher = Batcher("test", select_all, doubler, capacity=8)
    assert batcher.submit(21).result(5) == 42
    batcher.close()


def test_requests_form_a_group_while_the_thread_is_busy() -> None:
    doubler = Doubler()
    batcher = Batcher("test", select_all, doubler, capacity=8)
    futures = submit_while_busy(batcher, doubler, range(6))
    assert [future.result(5) for future in futures] == [0, 2, 4, 6, 8, 10]
    assert doubler.groups == [[0], [1, 2, 3, 4, 5]]
    batcher.close()


def test_only_the_bad_request_fails() -> None:
    doubler = Doubler(bad=3)
    batcher = Batcher("test", select_all, doubler, capacity=8)
    futures = submit_while_busy(batcher, doubler, range(6))
    with pytest.raises(ValueError, match="3 is bad"):
        futures[3].result(5)
    assert [futures[at].result(5) for at in (0, 1, 2, 4, 5)] == [0, 2, 4, 8, 10]
    batcher.close()


def test_a_temporary_error_fails_the_group_in_one_run() -> None:
    away = Doubler(bad=3, error=TryLater)
    batcher = Batcher("test", select_all, away, capacity=8)
    futures = submit_while_busy(batcher, away, range(6))
    for future in futures[1:]:
        with pytest.raises(TryLater):
            future.result(5)
    assert away.groups == [[0], [1, 2, 3, 4, 5]]
    batcher.close()


def test_requests_that_are_not_selected_run_next_in_order() -> None:
    doubler = Doubler()
    batcher = Batcher("test", lambda waiting: [0, *range(2, len(waiting), 2)], doubler, capacity=8)
    futures = submit_while_busy(batcher, doubler, range(6))
    assert [future.result(5) for future in futures] == [0, 2, 4, 6, 8, 10]
    assert doubler.groups == [[0], [1, 3, 5], [2], [4]] or doubler.groups == [[0], [1, 3, 5], [2, 4]]
    batcher.close()


def test_submit_blocks_while_the_queue_is_full() -> None:
    doubler = Doubler()
    batcher = Batcher("test", lambda _: [0], doubler, capacity=2)
    futures = submit_while_busy(batcher, doubler, range(3))
    doubler.gate.clear()
    late: list[Future[int]] = []
    thread = threading.Thread(target=lambda: late.extend(batcher.submit(number) for number in range(10, 15)))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert batcher.queue_length <= 2
    doubler.gate.set()
    thread.join(5)
    assert [future.result(5) for future in (*futures, *late)] == [0, 2, 4, 20, 22, 24, 26, 28]
    batcher.close()


def test_close_runs_the_queued_requests_and_accepts_no_more() -> None:
    doubler = Doubler()
    batcher = Batcher("test", lambda _: [0], doubler, capacity=8)
    futures = submit_while_busy(batcher, doubler, range(4))
    batcher.close()
    assert [future.result(0) for future in futures] == [0, 2, 4, 6]
    with pytest.raises(RuntimeError):
        batcher.submit(1)


def test_a_request_past_its_deadline_is_not_run() -> None:
    doubler = Doubler()
    batcher = Batcher("test", select_all, doubler, capacity=8)
    doubler.gate.clear()
    first = batcher.submit(0)
    while batcher.queue_length:
        pass
    late = batcher.submit(1, deadline=time.monotonic())
    in_time = batcher.submit(2, deadline=time.monotonic() + 60)
    doubler.gate.set()
    with pytest.raises(DeadlinePassed):
        late.result(5)
    assert (first.result(5), in_time.result(5)) == (0, 4)
    batcher.submit(3, deadline=time.monotonic() - 1)
    assert batcher.submit(4).result(5) == 8, "the thread still runs"
    batcher.close()
    assert doubler.groups == [[0], [2], [4]]
