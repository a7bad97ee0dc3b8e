"""Where the jobs are, as Redis and the catalog say."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from schemas.errors import ConfigError
from schemas.jobs import QUEUE_TRACKS
from worker.catalog.jobs import count_due
from worker.catalog.status import CatalogState, state
from worker.observe.delivery import published_at
from worker.queue.broker import QUEUES, unacked_key
from worker.queue.dead_letters import dead_list
from worker.settings import BrokerSettings

SOCKET_SECONDS = 2
"""Who looks does not wait for long: a person, or a scrape."""


@dataclass(frozen=True)
class QueueState:
    waiting: int
    oldest_seconds: float | None
    """Since the job that is served next was published; None where none waits, or it does not say."""
    oldest_enqueued_seconds: float | None
    """Since its `enqueued_at`, which a job that comes again keeps."""


@dataclass(frozen=True)
class BrokerState:
    queues: dict[str, QueueState]
    in_flight: int
    """Jobs that a worker took and has not brought to their end."""
    dead: int
    """Messages that no worker could decode."""

    @property
    def next_enqueued_at(self) -> datetime | None:
        """Of the new track that is served next; None where none waits."""
        seconds = self.queues[QUEUE_TRACKS].oldest_enqueued_seconds
        return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)


@dataclass(frozen=True)
class Status:
    broker: BrokerState
    catalog: CatalogState
    overdue: int
    """Tracks that have not come to their end in time: the reconciler is to enqueue them."""


class Broker:
    """Looks at a deployment's queues, and takes nothing out of them."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._deployment = settings.deployment
        self._client: Any = redis.Redis.from_url(
            settings.broker_url.get_secret_value(),
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def state(self) -> BrokerState:
        """Raises RedisError where the broker does not answer."""
        look = self._client.pipeline(transaction=False)
        for queue in QUEUES:
            look.llen(queue)
            look.lindex(queue, -1)  # kombu pushes on the left and pops on the right
        look.hlen(unacked_key(self._deployment))
        look.llen(dead_list(self._deployment))
        *queues, in_flight, dead = look.execute()
        states = [
            QueueState(waiting, *_ages(oldest))
            for waiting, oldest in zip(queues[::2], queues[1::2], strict=True)
        ]
        return BrokerState(dict(zip(QUEUES, states, strict=True)), in_flight, dead)


def read_status(broker: Broker, engine: Engine) -> Status:
    """Raises ConfigError where the broker or the catalog does not answer."""
    try:
        queues = broker.state()
        return Status(queues, state(engine), count_due(engine, queues.next_enqueued_at))
    except redis.RedisError as error:
        raise ConfigError(f"the broker does not answer: {error} (check COGENRE_BROKER_URL)") from None
    except OperationalError:
        raise ConfigError("the catalog does not answer (check COGENRE_CATALOG_URL)") from None


def _ages(message: bytes | None) -> tuple[float | None, float | None]:
    """Of a message: seconds since it was published, and since the job's `enqueued_at`."""
    now = datetime.now(UTC)
    try:
        envelope = json.loads(message or b"")
        body = envelope["body"]
        encoded = envelope["properties"].get("body_encoding") == "base64"
        _, job, _ = json.loads(base64.b64decode(body) if encoded else body)
        enqueued = max(0.0, (now - datetime.fromisoformat(job["enqueued_at"])).total_seconds())
        published = published_at(envelope.get("headers") or {})
        return max(0.0, (now - published).total_seconds()) if published else enqueued, enqueued
    except (ValueError, TypeError, LookupError, AttributeError):  # anybody may have written it
        return None, None
