"""Liveness and readiness of a worker, for the probes `/livez` and `/readyz`.

```
loading ──set_warm()──► ready ──set_draining()──► draining
```

A worker is ready only in the state `ready`. It is live, in any state, while every registered thread has sent
a heartbeat within `STUCK_SECONDS`. Neither depends on the broker or the catalog, because a restart of the
worker does not end their outage.
"""

import time

from worker.observe.metrics import DRAINING, HEARTBEAT_AGE_SECONDS, MODEL_WARM

STUCK_SECONDS = 90.0
"""Age of a heartbeat after which a thread counts as stuck. No batch takes this long on any device, and no
command on a dead connection to the broker."""


class Heartbeats:
    """The time of each thread's last heartbeat. Safe to share between threads."""

    def __init__(self, max_age_seconds: float = STUCK_SECONDS) -> None:
        """A thread whose last heartbeat is older than `max_age_seconds` counts as stuck."""
        self._max_age_seconds = max_age_seconds
        self._last: dict[str, float] = {}

    def send_heartbeat(self, thread: str) -> None:
        """Record a heartbeat of this thread. The first one registers the thread."""
        if thread not in self._last:
            HEARTBEAT_AGE_SECONDS.labels(thread).set_function(lambda: self.age(thread))
        self._last[thread] = time.monotonic()

    def unregister(self, thread: str) -> None:
        """Stop monitoring this thread until its next heartbeat registers it again."""
        if self._last.pop(thread, None) is not None:
            HEARTBEAT_AGE_SECONDS.remove(thread)

    def threads(self) -> list[str]:
        """Return the names of the registered threads."""
        return list(self._last)

    def age(self, thread: str) -> float:
        """Return the seconds since this thread's last heartbeat; 0 if it is not registered."""
        now = time.monotonic()
        return now - self._last.get(thread, now)

    def stuck_threads(self) -> dict[str, float]:
        """Return the stuck threads, with the seconds since their last heartbeat."""
        ages = {thread: self.age(thread) for thread in self.threads()}
        return {thread: age for thread, age in ages.items() if age > self._max_age_seconds}


class Health:
    """The state of one worker, for its probes and gauges."""

    def __init__(self, heartbeats: Heartbeats | None = None) -> None:
        self.heartbeats = heartbeats or Heartbeats()
        self._warm = False
        self._draining = False
        MODEL_WARM.set(0)
        DRAINING.set(0)

    def set_warm(self) -> None:
        """Record that the model is loaded and has run once."""
        self._warm = True
        MODEL_WARM.set(1)

    def set_draining(self) -> None:
        """Record that the worker takes no more jobs."""
        self._draining = True
        DRAINING.set(1)

    def readiness(self) -> tuple[bool, str]:
        """Return whether the worker takes jobs, and its state as text."""
        if self._draining:
            return False, "draining"
        return (True, "ready") if self._warm else (False, "loading the model")

    def liveness(self) -> tuple[bool, str]:
        """Return whether no thread is stuck, and the stuck threads as text."""
        if stuck := self.heartbeats.stuck_threads():
            return False, "stuck: " + ", ".join(f"{name} for {age:.0f} s" for name, age in stuck.items())
        return True, "live"
