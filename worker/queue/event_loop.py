"""Reports Celery's event loop to the worker's health: its heartbeats, and when draining starts."""

from typing import Any

from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import worker_shutting_down

from worker.observe.health import Health

THREAD = "event loop"
"""The name under which the event loop sends heartbeats."""

HEARTBEAT_SECONDS = 5.0
"""Seconds between two heartbeats."""


def attach_health(app: Celery, health: Health) -> None:
    """Make the worker that `app` will run report to `health`."""

    class SendHeartbeats(StartStopStep):
        """Starts and stops with the event loop.

        While the connection to the broker is lost, Celery waits for it outside the event loop. The
        worker is not stuck then, so the event loop is not monitored until it runs again.
        """

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            health.heartbeats.send_heartbeat(THREAD)
            consumer.timer.call_repeatedly(HEARTBEAT_SECONDS, health.heartbeats.send_heartbeat, (THREAD,))

        def stop(self, _: Any) -> None:
            health.heartbeats.unregister(THREAD)

    def set_draining(**_: object) -> None:
        health.set_draining()

    app.steps["consumer"].add(SendHeartbeats)
    worker_shutting_down.connect(set_draining, weak=False)
