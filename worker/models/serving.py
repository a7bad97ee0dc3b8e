"""The models that a worker serves. They can be replaced while jobs are processed.

```
loaded ──► serving ──► replaced: jobs that acquired the model finish ──► closed
```

A job acquires all served models when it starts, and holds them until it ends.
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

MAX_COMMIT_TRACKS = 64
"""Maximum tracks in one transaction."""

MAX_FAILED_RUNS = 20
"""Consecutive failed runs after which the device counts as broken. One bad track in a batch of 64 causes 7
failed runs while the batch is halved; then other runs succeed."""


@dataclass(frozen=True)
class ServingLimits:
    """Limits of batches and queues."""

    max_rows: int
    """Maximum windows in one run of the model."""
    max_tokens: int
    """Maximum lyrics tokens in one run, padding included."""
    capacity: int
    """Maximum tracks in the queue of the model, and in that of the catalog writer."""
    retry_seconds: float
    """Seconds for which a failing commit is retried."""


class ServedModel:
    """A model with two threads: one runs it, the other commits its results."""

    def __init__(
        self,
        model: Model,
        catalog: TrackCatalog,
        limits: ServingLimits,
        inference_heartbeat: Callable[[], None] = lambda: None,
        writer_heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        """`inference_heartbeat` and `writer_heartbeat` are called while the threads and the device work.

        Raises ConfigError if one track exceeds the limits of a batch.
        """
        self.model = model
        self.catalog = catalog
        self._retry_seconds = limits.retry_seconds
        self._inference_heartbeat = inference_heartbeat
        self._writer_heartbeat = writer_heartbeat
        self._failed_runs = 0
        policy = BatchPolicy(limits.max_rows, limits.max_tokens, model.bucket)
        policy.validate(model.manifest.audio.windows, model.manifest.lyrics.max_tokens)
        self._inference: Batcher[ModelInput, Prediction] = Batcher(
            "inference", policy.select, self._predict, limits.capacity, self._heartbeat_unless_broken
        )
        self._writer: Batcher[Classified, None] = Batcher(
            "writer",
            lambda waiting: list(range(min(len(waiting), MAX_COMMIT_TRACKS))),
            self._write,
            limits.capacity,
            writer_heartbeat,
        )

    @property
    def label(self) -> str:
        return self.model.manifest.label

    @property
    def audio(self) -> AudioInput:
        return self.model.manifest.audio

    def predict(self, clip: Clip, token_ids: tuple[int, ...], deadline: float) -> Future[Prediction]:
        """Queue a track and return its future prediction.

        The future raises DeadlinePassed if the track is still queued at `deadline`, of time.monotonic().
        """
        return self._inference.submit(ModelInput(clip.windows, token_ids), deadline)

    def commit(self, track: Classified) -> Future[None]:
        """Queue a result for the catalog. The future is done when the result is committed."""
        return self._writer.submit(track)

    def close(self) -> None:
        """Finish the queued requests, then stop the threads."""
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

    def _heartbeat_unless_broken(self) -> None:
        """Send a heartbeat unless the device is broken. Without heartbeats the worker is restarted."""
        if self._failed_runs < MAX_FAILED_RUNS:
            self._inference_heartbeat()

    def _write(self, group: Sequence[Classified]) -> list[None]:
        def attempt() -> list[None]:
            self._writer_heartbeat()  # a thread that waits for the catalog is not stuck
            return self.catalog.write(group)

        return with_retries(attempt, self._retry_seconds)


class ServedModels:
    """The served models. Safe to share between threads."""

    def __init__(self) -> None:
        self._serving: tuple[ServedModel, ...] = ()
        self._jobs: dict[ServedModel, int] = {}
        self._changed = threading.Condition()

    @property
    def serving(self) -> tuple[ServedModel, ...]:
        return self._serving

    @contextmanager
    def acquire(self) -> Iterator[tuple[ServedModel, ...]]:
        """Yield the served models. They are not closed before the context ends."""
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
        """Serve these models to new jobs. Waits for the jobs of removed models, then closes those models."""
        with self._changed:
            before, self._serving = self._serving, tuple(models)
            removed = [model for model in before if model not in self._serving]
            self._changed.wait_for(lambda: not any(self._jobs.get(model, 0) for model in removed))
            for model in removed:
                self._jobs.pop(model, None)
        for model in removed:
            model.close()

    def close(self) -> None:
        """Serve no model. Waits for the running jobs, then closes all models."""
        self.replace(())
