"""Redis clients, queues and keys of the broker. Does not import Celery, so that commands start fast."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import ConfigError
from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS
from worker.settings import BrokerSettings

QUEUES = (QUEUE_TRACKS, QUEUE_BACKFILL)
"""Queues in the order in which workers serve them."""

WORKER_TIMEOUT_SECONDS = 10
"""Timeout of each command, for workers and producers, and of Celery's connecting. Without it, publishing over
a dead connection would block forever."""

COMMAND_TIMEOUT_SECONDS = 5
"""Timeout of connecting and of each command, for the CLI's Redis clients and for the check at start-up."""

MONITOR_TIMEOUT_SECONDS = 2
"""Timeout of connecting and of each command, for reading the state of the queues. It is short, because
`cogenre status` and scrapes of `/metrics` must not block."""

MAX_CONNECT_SECONDS = 5
"""Maximum timeout of connecting in `redis_client`, which redis-py repeats. A longer timeout could delay the
renewal of leases beyond a short visibility timeout, so that their jobs would be delivered again."""


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


def redis_client(settings: BrokerSettings, timeout_seconds: float, *, retries: bool = True) -> Any:
    """Return a client of the broker, not yet connected.

    `timeout_seconds` limits each command, and connecting if it is below `MAX_CONNECT_SECONDS`, which limits
    connecting otherwise. With `retries`, redis-py repeats a command whose connection failed, with backoff.
    Raises ValueError if `COGENRE_BROKER_URL` is not a URL.
    """
    options = {} if retries else {"retry": Retry(NoBackoff(), 0)}
    return redis.Redis.from_url(
        settings.broker_url.get_secret_value(),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=min(timeout_seconds, MAX_CONNECT_SECONDS),
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
