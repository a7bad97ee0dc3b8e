"""Requests of many threads meet here, and one thread serves them in groups.

```
submit ──► waiting (bounded) ──► policy takes a group ──► run ──► futures resolve
              │ past its deadline        ▲                 │ fails: halves, down to the one bad request;
              │                          │                 │ TryLater: no request's fault, of all at once
              ▼                          └── next group ◄──┘
            dropped
```

Groups form while the thread is busy: an idle thread takes whatever waits at once, so that a lone request
never waits for company. The model and the catalog writer are both served so.
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

BEAT_SECONDS = 5.0
"""An idle thread shows this often that it is not stuck."""


@dataclass(eq=False)
class _Waiting(Generic[Request, Result]):
    request: Request
    deadline: float
    future: Future[Result] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Request, Result]):
    """One thread that runs groups of requests.

    `take` chooses, of the waiting requests in order of arrival, how many and which go next: it returns
    their positions, the first request always among them. `run` returns a result for each, in order.
    `beat` is called before every group, and every few seconds while there is none.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[list[Request]], list[int]],
        run: Callable[[list[Request]], list[Result]],
        capacity: int,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._beat = beat
        self._take = take
        self._run = run
        self._capacity = capacity
        self._queue: list[_Waiting[Request, Result]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, request: Request, deadline: float = math.inf) -> Future[Result]:
        """Blocks while the queue is full. Raises RuntimeError once closed.

        A request that no group has taken by `deadline`, of time.monotonic(), is not run: DeadlinePassed.
        """
        waiting = _Waiting[Request, Result](request, deadline)
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) < self._capacity or self._closed)
            if self._closed:
                raise RuntimeError("closed")
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting.future

    @property
    def waiting(self) -> int:
        """Requests that no group has taken yet."""
        return len(self._queue)

    def close(self) -> None:
        """Serve what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _serve(self) -> None:
        while (group := self._next_group()) is not None:
            self._resolve(group)

    def _next_group(self) -> list[_Waiting[Request, Result]] | None:
        """None when there will be no more."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._queue or self._closed, BEAT_SECONDS):
                self._beat()
            if not self._queue:
                return None
            self._drop_late()
            if not self._queue:
                self._changed.notify_all()
                return []
            taken = set(self._take([waiting.request for waiting in self._queue]))
            group = [waiting for at, waiting in enumerate(self._queue) if at in taken]
            self._queue = [waiting for at, waiting in enumerate(self._queue) if at not in taken]
            self._changed.notify_all()
        now = time.monotonic()
        for waiting in group:
            BATCH_WAIT_SECONDS.labels(self._name).observe(now - waiting.since)
        return group

    def _drop_late(self) -> None:
        now = time.monotonic()
        late = [waiting for waiting in self._queue if waiting.deadline < now]
        self._queue = [waiting for waiting in self._queue if waiting.deadline >= now]
        for waiting in late:
            waiting.future.set_exception(DeadlinePassed(f"waited {now - waiting.since:.0f} s for its turn"))

    def _resolve(self, group: list[_Waiting[Request, Result]]) -> None:
        self._beat()
        if not group:
            return
        try:
            with BATCH_SECONDS.labels(self._name).time():
                results = self._run([waiting.request for waiting in group])
        except TryLater as error:  # halves would wait for the same, each as long
            for waiting in group:
                waiting.future.set_exception(error)
            return
        except Exception as error:  # whatever it is, it belongs to a request
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            middle = len(group) // 2
            self._resolve(group[:middle])
            self._resolve(group[middle:])
            return
        for waiting, result in zip(group, results, strict=True):
            waiting.future.set_result(result)
