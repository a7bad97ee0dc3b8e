"""Where the jobs are, as Redis and the catalog say."""

from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Engine

from worker.broker import QUEUES
from worker.catalog.queries import CatalogState, state
from worker.settings import BrokerSettings


@dataclass(frozen=True)
class Status:
    waiting: dict[str, int]
    """Jobs in each queue."""
    in_flight: int
    """Jobs that a worker took and has not brought to their end."""
    catalog: CatalogState


def read_status(settings: BrokerSettings, engine: Engine) -> Status:
    broker: Any = redis.Redis.from_url(settings.broker_url.get_secret_value(), socket_timeout=5)
    return Status(
        waiting={queue: broker.llen(queue) for queue in QUEUES},
        in_flight=broker.hlen(f"{settings.deployment}.unacked"),
        catalog=state(engine),
    )
