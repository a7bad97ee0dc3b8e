"""Connections to the broker: the Celery application and plain Redis clients, with the keys that they share.

A message leaves Redis when its job is finished, not when a worker receives it (late acknowledgement).
"""

from typing import Any

import redis
from celery import Celery
from kombu import Queue
from kombu.utils.scheduling import priority_cycle
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import ConfigError
from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS, TASK_NAME
from worker.settings import BrokerSettings

QUEUES = (QUEUE_TRACKS, QUEUE_BACKFILL)
"""Queues in the order in which workers serve them."""

WORKER_TIMEOUT_SECONDS = 10
"""For connecting and for each command of workers and producers. Without it, a publish over a dead connection
would block forever."""

COMMAND_TIMEOUT_SECONDS = 5
"""For connecting and for each command of the CLI's own Redis clients, and of the check at start-up."""

MONITOR_TIMEOUT_SECONDS = 2
"""For reading queue depths: `cogenre status` and scrapes of `/metrics` must not block for long."""


class FixedQueueOrder(priority_cycle):  # type: ignore[type-arg] # not subscriptable at run time
    """Serve a queue only when every queue before it in `QUEUES` is empty.

    kombu passes the queues in an undefined order, so they are sorted before each read.
    """

    def consume(self, n: int) -> Any:
        return sorted((self.items or [])[:n], key=QUEUES.index)


def unacked_key(deployment: str) -> str:
    """Return the key of the Redis hash of messages in flight: delivery tag → message."""
    return f"{deployment}.unacked"


def unacked_index_key(deployment: str) -> str:
    """Return the key of the Redis sorted set of delivery tags in flight.

    The score is the Unix time at which the message was delivered or its lease was last renewed.
    """
    return f"{deployment}.unacked_index"


def dead_letters_key(deployment: str) -> str:
    """Return the key of the Redis list of dead letters, newest first."""
    return f"{deployment}.dead"


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
            "priority_steps": [0],  # one Redis list per queue, with the name of the queue
            "socket_timeout": WORKER_TIMEOUT_SECONDS,
            "socket_connect_timeout": WORKER_TIMEOUT_SECONDS,
            "health_check_interval": WORKER_TIMEOUT_SECONDS,
        },
    )
    return app


def redis_client(settings: BrokerSettings, timeout_seconds: float, *, retries: bool = True) -> Any:
    """Return a client of the broker, not yet connected.

    `timeout_seconds` limits connecting and each command. With `retries`, redis-py repeats a command whose
    connection failed, with backoff. Raises ValueError if `COGENRE_BROKER_URL` is not a URL.
    """
    options = {} if retries else {"retry": Retry(NoBackoff(), 0)}
    return redis.Redis.from_url(
        settings.broker_url.get_secret_value(),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        **options,
    )


def check_broker(settings: BrokerSettings) -> None:
    """Raise ConfigError unless a Redis server answers at `COGENRE_BROKER_URL`."""
    try:
        redis_client(settings, COMMAND_TIMEOUT_SECONDS).ping()
    except ValueError:
        raise ConfigError("COGENRE_BROKER_URL is not a URL: write redis://:password@host:6379/0") from None
    except redis.RedisError as error:
        raise ConfigError(f"the broker does not answer: {error} (check COGENRE_BROKER_URL)") from None
