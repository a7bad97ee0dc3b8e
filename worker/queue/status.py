"""Reads the state of the jobs: queue depths and ages from Redis, counts from the catalog."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from schemas.errors import ConfigError
from schemas.jobs import QUEUE_TRACKS
from worker.catalog.jobs import count_due
from worker.catalog.status import CatalogState, read_catalog_state
from worker.queue.broker import (
    MONITOR_TIMEOUT_SECONDS,
    QUEUES,
    dead_letters_key,
    redis_client,
    unacked_key,
)
from worker.queue.envelope import parse_published_at
from worker.settings import BrokerSettings


@dataclass(frozen=True)
class QueueState:
    """The jobs that wait in one queue."""

    waiting: int
    oldest_seconds: float | None
    """Seconds since the next job was published; None if the queue is empty or the job's time is not valid."""
    oldest_enqueued_seconds: float | None
    """Seconds since the `enqueued_at` of the next job, which stays the same when a job is enqueued again.
    None as in `oldest_seconds`."""


@dataclass(frozen=True)
class BrokerState:
    """A deployment's messages in Redis."""

    queues: dict[str, QueueState]
    """The queues, by name."""
    in_flight: int
    """Messages that were delivered to a worker and are not acknowledged."""
    dead_letters: int
    """Messages that could not be decoded."""

    @property
    def next_enqueued_at(self) -> datetime | None:
        """`enqueued_at` of the next job in the queue of new tracks.

        None if the queue is empty or the job's time is not valid.
        """
        seconds = self.queues[QUEUE_TRACKS].oldest_enqueued_seconds
        return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)


@dataclass(frozen=True)
class Status:
    """The state of all jobs, which `cogenre status` prints."""

    broker: BrokerState
    catalog: CatalogState
    overdue: int
    """Number of tracks that were not finished in time. `cogenre reconcile` enqueues them again."""


class QueueMonitor:
    """Reads the state of a deployment's queues. Removes no message."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._deployment = settings.deployment
        self._client = redis_client(settings, MONITOR_TIMEOUT_SECONDS, retries=False)

    def read_state(self) -> BrokerState:
        """Return the current state. Raises RedisError if the broker does not answer."""
        commands = self._client.pipeline(transaction=False)
        for queue in QUEUES:
            commands.llen(queue)
            commands.lindex(queue, -1)  # kombu pushes on the left and pops on the right
        commands.hlen(unacked_key(self._deployment))
        commands.llen(dead_letters_key(self._deployment))
        *queues, in_flight, dead_letters = commands.execute()
        states = [
            QueueState(waiting, *_read_ages(oldest))
            for waiting, oldest in zip(queues[::2], queues[1::2], strict=True)
        ]
        return BrokerState(dict(zip(QUEUES, states, strict=True)), in_flight, dead_letters)


def read_status(monitor: QueueMonitor, engine: Engine) -> Status:
    """Return the state of broker and catalog. Raises ConfigError if one of them does not answer."""
    try:
        broker = monitor.read_state()
        return Status(broker, read_catalog_state(engine), count_due(engine, broker.next_enqueued_at))
    except redis.RedisError as error:
        raise ConfigError(f"the broker does not answer: {error} (check COGENRE_BROKER_URL)") from None
    except OperationalError:
        raise ConfigError("the catalog does not answer (check COGENRE_CATALOG_URL)") from None


def _read_ages(message: bytes | None) -> tuple[float | None, float | None]:
    """Return the seconds since `message` was published and since its job's `enqueued_at`, at least 0.

    Without a valid header `published_at`, both count from `enqueued_at`. Returns (None, None) if there
    is no message or it is not a valid job.
    """
    now = datetime.now(UTC)
    try:
        envelope = json.loads(message or b"")
        body = envelope["body"]
        encoded = envelope["properties"].get("body_encoding") == "base64"
        _, job, _ = json.loads(base64.b64decode(body) if encoded else body)
        enqueued = max(0.0, (now - datetime.fromisoformat(job["enqueued_at"])).total_seconds())
        published = parse_published_at(envelope.get("headers") or {})
        return max(0.0, (now - published).total_seconds()) if published else enqueued, enqueued
    except (ValueError, TypeError, LookupError, AttributeError):
        return None, None
