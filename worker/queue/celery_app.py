"""The Celery application of workers and producers.

A message leaves Redis when its job is finished, not when a worker receives it (late acknowledgement).
"""

from typing import Any

from celery import Celery
from kombu import Queue
from kombu.utils.scheduling import priority_cycle

from schemas.jobs import QUEUE_TRACKS, TASK_NAME
from worker.queue.broker import QUEUES, WORKER_TIMEOUT_SECONDS, unacked_index_key, unacked_key
from worker.settings import BrokerSettings


class FixedQueueOrder(priority_cycle):  # type: ignore[type-arg] # not subscriptable at run time
    """Serve a queue only when every queue before it in `QUEUES` is empty.

    kombu passes the queues in undefined order, so they are sorted before each read.
    """

    def consume(self, n: int) -> Any:
        return sorted((self.items or [])[:n], key=QUEUES.index)


def celery_app(settings: BrokerSettings) -> Celery:
    """Return a Celery application for producers and workers. It has no task yet."""
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
            # Check every second, so that a dead worker's jobs are delivered again right after the timeout.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": f"{__name__}:{FixedQueueOrder.__name__}",
            "priority_steps": [0],  # one Redis list per queue, named like the queue
            "socket_timeout": WORKER_TIMEOUT_SECONDS,
            "socket_connect_timeout": WORKER_TIMEOUT_SECONDS,
            "health_check_interval": WORKER_TIMEOUT_SECONDS,
        },
    )
    return app
