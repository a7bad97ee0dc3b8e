"""Celery's event loop beats, and says when it begins to drain."""

from typing import Any

from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import worker_shutting_down

from worker.observe.health import Health

HEART = "event loop"
BEAT_SECONDS = 5.0


def watch(app: Celery, health: Health) -> None:
    """Let `health` follow the worker that `app` will run."""

    class Beat(StartStopStep):
        """Starts with the event loop and stops with it.

        While the connection to the broker is lost, Celery waits for it outside its loop: that is no fault
        of the worker's, so the heart is forgotten until the loop runs again.
        """

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            health.heartbeats.beat(HEART)
            consumer.timer.call_repeatedly(BEAT_SECONDS, health.heartbeats.beat, (HEART,))

        def stop(self, _: Any) -> None:
            health.heartbeats.forget(HEART)

    def drain(**_: object) -> None:
        health.drain()

    app.steps["consumer"].add(Beat)
    worker_shutting_down.connect(drain, weak=False)
