"""Models at work: the current one and its shadows, which change while jobs are under way.

```
loaded ──► serving ──► replaced: finishes the jobs that have it ──► closed
```

A job takes the models that serve when it begins, and keeps them to its end.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from media.decode import Clip
from schemas.bundle import AudioInput
from worker.catalog.retry import with_retries
from worker.catalog.tracks import Classified, TrackCatalog
from worker.errors import InferenceFailed
from worker.models.batch_policy import BatchPolicy
from worker.models.batcher import Batcher
from worker.models.model import Model, ModelInput
from worker.observe.metrics import BATCH_ROWS
from worker.results import Prediction

COMMIT_GROUP = 64
"""Tracks in one transaction, at most."""

BROKEN_AFTER = 20
"""Runs that fail one after the other. One bad track among 64 fails 7, then others succeed: that many are the
device's fault."""


@dataclass(frozen=True)
class ServingLimits:
    """How much goes together."""

    max_rows: int
    """Windows in one run of the model, at most."""
    max_tokens: int
    """Lyrics tokens in one run, at most, padding included."""
    capacity: int
    """Tracks that may wait for the model, or for the catalog."""
    retry_seconds: float
    """Seconds for which the catalog may fail to answer."""


class ServedModel:
    """A model with the one thread that runs it, and the one that commits what it said."""

    def __init__(
        self,
        model: Model,
        catalog: TrackCatalog,
        limits: ServingLimits,
        beat: Callable[[], None] = lambda: None,
        writer_beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`beat` and `writer_beat` are called as long as the two threads are not stuck, and the device runs.

        Raises ConfigError where a batch cannot hold a single track.
        """
        self.model = model
        self.catalog = catalog
        self._retry_seconds = limits.retry_seconds
        self._beat = beat
        self._writer_beat = writer_beat
        self._failed_runs = 0
        policy = BatchPolicy(limits.max_rows, limits.max_tokens, model.bucket)
        policy.check(model.manifest.audio.windows, model.manifest.lyrics.max_tokens)
        self._inference: Batcher[ModelInput, Prediction] = Batcher(
            "inference", policy.take, self._predict, limits.capacity, self._beat_unless_broken
        )
        self._writer: Batcher[Classified, None] = Batcher(
            "writer",
            lambda waiting: list(range(min(len(waiting), COMMIT_GROUP))),
            self._write,
            limits.capacity,
            writer_beat,
        )

    @property
    def label(self) -> str:
        return self.model.manifest.label

    @property
    def audio(self) -> AudioInput:
        return self.model.manifest.audio

    def predict(self, clip: Clip, token_ids: tuple[int, ...], deadline: float) -> Future[Prediction]:
        """`deadline`, of time.monotonic(): after it the model does not begin."""
        return self._inference.submit(ModelInput(clip.windows, token_ids), deadline)

    def commit(self, track: Classified) -> Future[None]:
        return self._writer.submit(track)

    def close(self) -> None:
        """Finish what is under way."""
        self._inference.close()
        self._writer.close()

    def _predict(self, inputs: Sequence[ModelInput]) -> list[Prediction]:
        BATCH_ROWS.observe(sum(len(track.windows) for track in inputs))
        try:
            predictions = self.model.predict(inputs)
        except InferenceFailed:
            self._failed_runs += 1
            raise
        self._failed_runs = 0
        return predictions

    def _beat_unless_broken(self) -> None:
        """A worker whose device is lost would take job after job in vain: not live, it is restarted."""
        if self._failed_runs < BROKEN_AFTER:
            self._beat()

    def _write(self, group: Sequence[Classified]) -> list[None]:
        def attempt() -> list[None]:
            self._writer_beat()  # a thread that waits for the catalog is not stuck
            return self.catalog.write(group)

        return with_retries(attempt, self._retry_seconds)


class ServedModels:
    """The models that serve now. Safe to share between threads."""

    def __init__(self) -> None:
        self._serving: tuple[ServedModel, ...] = ()
        self._jobs: dict[ServedModel, int] = {}
        self._changed = threading.Condition()

    @property
    def serving(self) -> tuple[ServedModel, ...]:
        return self._serving

    @contextmanager
    def acquire(self) -> Iterator[tuple[ServedModel, ...]]:
        """The models of one job."""
        with self._changed:
            models = self._serving
            for model in models:
                self._jobs[model] = self._jobs.get(model, 0) + 1
        try:
            yield models
        finally:
            with self._changed:
                for model in models:
                    self._jobs[model] -= 1
                self._changed.notify_all()

    def replace(self, models: Iterable[ServedModel]) -> None:
        """Jobs that begin from now on take these. Waits for those that have others; closes these."""
        with self._changed:
            before, self._serving = self._serving, tuple(models)
            gone = [model for model in before if model not in self._serving]
            self._changed.wait_for(lambda: not any(self._jobs.get(model, 0) for model in gone))
            for model in gone:
                self._jobs.pop(model, None)
        for model in gone:
            model.close()

    def close(self) -> None:
        """Finish what is under way."""
        self.replace(())
