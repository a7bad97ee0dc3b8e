"""Runs the requests of many threads in groups, in one thread.

```
submit ──► waiting (bounded) ──► policy takes a group ──► run ──► futures resolve
              │ past its deadline        ▲                 │ error: halved, until only the bad request fails
              ▼                          │                 │ TryLater: the whole group fails
        DeadlinePassed                   └── next group ◄──┘
```

Requests queue up while the thread is busy, and form the next groups. If the thread is idle, it runs a request
at once and does not wait for others. A model and its catalog writer each have a batcher.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker.errors import DeadlinePassed, TryLater
from worker.observe.metrics import BATCH_SECONDS, BATCH_WAIT_SECONDS

Request = TypeVar("Request")
Result = TypeVar("Result")

HEARTBEAT_SECONDS = 5.0
"""Seconds between two heartbeats of an idle thread."""


@dataclass(eq=False)
class _QueuedRequest(Generic[Request, Result]):
    request: Request
    deadline: float
    future: Future[Result] = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)


class Batcher(Generic[Request, Result]):
    """A queue of requests and the thread that runs them in groups.

    `select` gets the queued requests in order of arrival and returns the positions of the next group,
    which always include the first. `run` returns one result per request, in order. `send_heartbeat` is
    called before every group, and every `HEARTBEAT_SECONDS` while the thread is idle.
    """

    def __init__(
        self,
        name: str,
        select: Callable[[list[Request]], list[int]],
        run: Callable[[list[Request]], list[Result]],
        capacity: int,
        send_heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._send_heartbeat = send_heartbeat
        self._select = select
        self._run = run
        self._capacity = capacity
        self._queue: list[_QueuedRequest[Request, Result]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run_groups, name=name, daemon=True)
        self._thread.start()

    def submit(self, request: Request, deadline: float = math.inf) -> Future[Result]:
        """Queue a request and return its future result. Blocks while the queue is full.

        The future raises DeadlinePassed if no group includes the request by `deadline`, of time.monotonic().
        Raises RuntimeError if the batcher is closed.
        """
        queued = _QueuedRequest[Request, Result](request, deadline)
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) < self._capacity or self._closed)
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._queue.append(queued)
            self._changed.notify_all()
        return queued.future

    @property
    def queue_length(self) -> int:
        """Number of requests in the queue."""
        return len(self._queue)

    def close(self) -> None:
        """Run the requests in the queue, then stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run_groups(self) -> None:
        while (group := self._next_group()) is not None:
            self._run_group(group)

    def _next_group(self) -> list[_QueuedRequest[Request, Result]] | None:
        """Wait for the next group and return it; None if the batcher is closed and the queue is empty."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._queue or self._closed, HEARTBEAT_SECONDS):
                self._send_heartbeat()
            if not self._queue:
                return None
            self._fail_expired()
            if not self._queue:
                self._changed.notify_all()
                return []
            selected = set(self._select([queued.request for queued in self._queue]))
            group = [queued for at, queued in enumerate(self._queue) if at in selected]
            self._queue = [queued for at, queued in enumerate(self._queue) if at not in selected]
            self._changed.notify_all()
        now = time.monotonic()
        for queued in group:
            BATCH_WAIT_SECONDS.labels(self._name).observe(now - queued.queued_at)
        return group

    def _fail_expired(self) -> None:
        """Fail the requests whose deadline has passed."""
        now = time.monotonic()
        expired = [queued for queued in self._queue if queued.deadline < now]
        self._queue = [queued for queued in self._queue if queued.deadline >= now]
        for queued in expired:
            queued.future.set_exception(
                DeadlinePassed(
                    f"waited {now - queued.queued_at:.0f} s in the queue of the batcher {self._name!r}, "
                    "until the deadline of the track (COGENRE_TRACK_SECONDS)"
                )
            )

    def _run_group(self, group: list[_QueuedRequest[Request, Result]]) -> None:
        """Run a group and resolve its futures."""
        self._send_heartbeat()
        if not group:
            return
        try:
            with BATCH_SECONDS.labels(self._name).time():
                results = self._run([queued.request for queued in group])
        except TryLater as error:  # both halves would fail for the same reason
            for queued in group:
                queued.future.set_exception(error)
            return
        except Exception as error:  # caused by one of the requests
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            middle = len(group) // 2
            self._run_group(group[:middle])
            self._run_group(group[middle:])
            return
        for queued, result in zip(group, results, strict=True):
            queued.future.set_result(result)
