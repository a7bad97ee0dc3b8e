"""Celery on Redis, set up so that a job leaves the queue only when it has come to its end."""

from typing import Any

from celery import Celery
from kombu import Queue
from kombu.utils.scheduling import priority_cycle

from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS, TASK_NAME
from worker.settings import BrokerSettings

QUEUES = (QUEUE_TRACKS, QUEUE_BACKFILL)
"""In the order in which they are served."""

SOCKET_SECONDS = 10
"""Without a limit a publish on a dead link hangs for ever."""


class InOrder(priority_cycle):  # type: ignore[type-arg] # not subscriptable when it runs
    """Serves a queue only when all before it are empty. kombu hands the queues over in no order at all."""

    def consume(self, n: int) -> Any:
        return sorted((self.items or [])[:n], key=QUEUES.index)


def unacked_key(deployment: str) -> str:
    """The Redis hash of jobs in flight, by delivery tag."""
    return f"{deployment}.unacked"


def unacked_index_key(deployment: str) -> str:
    """The Redis sorted set of their delivery tags, by when each lease was last renewed."""
    return f"{deployment}.unacked_index"


def celery_app(settings: BrokerSettings) -> Celery:
    """The Celery application of producers and workers alike; it holds no task of its own."""
    app = Celery("cogenre", broker=settings.broker_url.get_secret_value())
    app.conf.update(
        task_queues=[Queue(name) for name in QUEUES],
        task_routes={TASK_NAME: {"queue": QUEUE_TRACKS}},
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_store_errors_even_if_ignored=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout,
            "unacked_key": unacked_key(settings.deployment),
            "unacked_index_key": unacked_index_key(settings.deployment),
            "unacked_mutex_key": f"{settings.deployment}.unacked_mutex",
            # A dead worker's jobs come back at the timeout, not minutes after it.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": f"{__name__}:{InOrder.__name__}",
            "priority_steps": [0],  # one Redis list a queue, named as the queue
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "health_check_interval": SOCKET_SECONDS,
        },
    )
    return app
