"""The stages of a track's way: what an error in one means, and how long each took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from media.errors import DecoderUnavailable
from media.source import Source
from storage.errors import ObjectChanged, ReadDeadlinePassed, StorageUnavailable
from worker.errors import DeadlinePassed, InferenceFailed, TrackError, TryLater
from worker.observe.metrics import STAGE_SECONDS
from worker.observe.tracing import span

PASSING = (
    StorageUnavailable,
    ObjectChanged,
    ReadDeadlinePassed,
    DecoderUnavailable,
    InferenceFailed,
    DeadlinePassed,
)
"""What may not be so later, or elsewhere."""


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Errors inside end the track in this stage (TrackError), but for those that may pass (TryLater)."""
    try:
        yield
    except PASSING as error:
        raise TryLater(str(error)) from error
    except (TryLater, TrackError):
        raise
    except Exception as error:
        raise TrackError(name, error) from error


class Stopwatch:
    """Seconds a stage: for the catalog's row, for the metrics and as spans."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            with span(name), stage(name):
                yield
        finally:
            self._seconds[name] = time.perf_counter() - started
            STAGE_SECONDS.labels(name).observe(self._seconds[name])

    def part(self, whole: str, name: str, seconds: float) -> None:
        """Of the stage `whole`, so long was spent on `name`."""
        self._seconds[whole] -= seconds
        self._seconds[name] = seconds
        STAGE_SECONDS.labels(name).observe(seconds)

    def milliseconds(self) -> dict[str, float]:
        return {name: round(seconds * 1000, 3) for name, seconds in self._seconds.items()}


class TimedSource:
    """A source that adds up how long its reads take."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.seconds = 0.0

    @property
    def size(self) -> int:
        return self._source.size

    def read_at(self, offset: int, length: int) -> bytes:
        started = time.perf_counter()
        try:
            return self._source.read_at(offset, length)
        finally:
            self.seconds += time.perf_counter() - started
