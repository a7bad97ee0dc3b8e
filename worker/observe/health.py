"""What a worker answers to the question how it is.

```
loading ──warmed()──► ready ──drain()──► draining
```

Ready is the middle one alone. Live is independent of it: every heart that was heard beats on. No answer
depends on the broker or the catalog: when those are away, restarting workers helps nobody.
"""

import time

from worker.observe.metrics import DRAINING, HEARTBEAT_AGE_SECONDS, MODEL_WARM

STUCK_SECONDS = 90.0
"""Longer than any one batch on any device, and than a command on a dead connection to the broker."""


class Heartbeats:
    """When each thread last showed that it is not stuck. Threads may beat at once."""

    def __init__(self, bound: float = STUCK_SECONDS) -> None:
        self._bound = bound
        self._last: dict[str, float] = {}

    def beat(self, name: str) -> None:
        """The first beat registers: from then on silence counts."""
        if name not in self._last:
            HEARTBEAT_AGE_SECONDS.labels(name).set_function(lambda: self.age(name))
        self._last[name] = time.monotonic()

    def forget(self, name: str) -> None:
        """This thread's silence means nothing, until it beats again."""
        if self._last.pop(name, None) is not None:
            HEARTBEAT_AGE_SECONDS.remove(name)

    def names(self) -> list[str]:
        """Of those whose silence counts."""
        return list(self._last)

    def age(self, name: str) -> float:
        """Seconds since the last beat; 0 where there was none."""
        now = time.monotonic()
        return now - self._last.get(name, now)

    def stuck(self) -> dict[str, float]:
        """Ages of those that are older than the bound."""
        return {name: age for name in self.names() if (age := self.age(name)) > self._bound}


class Health:
    """The state of one worker, for its probes."""

    def __init__(self, heartbeats: Heartbeats | None = None) -> None:
        self.heartbeats = heartbeats or Heartbeats()
        self._warm = False
        self._draining = False
        MODEL_WARM.set(0)
        DRAINING.set(0)

    def warmed(self) -> None:
        """The model is loaded and has run."""
        self._warm = True
        MODEL_WARM.set(1)

    def drain(self) -> None:
        """No more jobs are taken."""
        self._draining = True
        DRAINING.set(1)

    def readiness(self) -> tuple[bool, str]:
        """Whether the worker takes jobs, and a line that says so."""
        if self._draining:
            return False, "draining"
        return (True, "ready") if self._warm else (False, "loading the model")

    def liveness(self) -> tuple[bool, str]:
        """Whether no thread is stuck, and a line that says so."""
        if stuck := self.heartbeats.stuck():
            return False, "stuck: " + ", ".join(f"{name} for {age:.0f} s" for name, age in stuck.items())
        return True, "live"
