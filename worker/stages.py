"""The stages of the pipeline: translates their errors and measures their duration."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from media.errors import DecoderUnavailable
from media.source import Source
from storage.errors import ObjectChanged, ReadDeadlinePassed, StorageUnavailable
from worker.errors import DeadlinePassed, InferenceFailed, Stage, TrackError, TryLater
from worker.observe.metrics import STAGE_SECONDS
from worker.observe.tracing import span

TEMPORARY_ERRORS = (
    StorageUnavailable,
    ObjectChanged,
    ReadDeadlinePassed,
    DecoderUnavailable,
    InferenceFailed,
    DeadlinePassed,
)
"""Errors after which a later attempt, or one on another worker, may succeed."""


@contextmanager
def stage_errors(name: Stage) -> Iterator[None]:
    """Raise temporary errors in the context as TryLater, and all others as TrackError of this stage."""
    try:
        yield
    except TEMPORARY_ERRORS as error:
        raise TryLater(str(error)) from error
    except (TryLater, TrackError):
        raise
    except Exception as error:
        raise TrackError(name, error) from error


class Stopwatch:
    """Seconds per stage of one track, for the catalog's row, the metrics and the spans."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._seconds: dict[Stage, float] = {}

    @contextmanager
    def measure(self, name: Stage) -> Iterator[None]:
        """Measure a stage and record it as a span. Errors are raised as in `stage_errors`."""
        started = time.perf_counter()
        try:
            with span(name), stage_errors(name):
                yield
        finally:
            self._seconds[name] = time.perf_counter() - started
            STAGE_SECONDS.labels(name).observe(self._seconds[name])

    def split_off(self, whole: Stage, part: Stage, seconds: float) -> None:
        """Count `seconds` of the measured stage `whole` as the stage `part` instead."""
        self._seconds[whole] -= seconds
        self._seconds[part] = seconds
        STAGE_SECONDS.labels(part).observe(seconds)

    def milliseconds(self) -> dict[str, float]:
        """Return the milliseconds of each measured stage."""
        return {str(name): round(seconds * 1000, 3) for name, seconds in self._seconds.items()}


class TimedSource:
    """A source that adds up the seconds of its reads, in `seconds`."""

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
