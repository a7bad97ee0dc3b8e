"""The guard at the raw queue: what cannot be decoded goes to the dead list, with its bytes.

```
BRPOP ─► sound? ─► kombu ─► Celery ─► task
           │ no
           └─► dead list
```
"""

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, Transport

from worker.queue.envelope import EnvelopeInvalid, sound
from worker.settings import BrokerSettings

log = logging.getLogger(__name__)


def install_guard(deployment: str, on_dead: Callable[[], None]) -> None:
    """Let every Redis connection that this process opens through kombu check what it pops."""
    dead = dead_list(deployment)

    class GuardedRedis(redis.Redis):
        def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
            try:
                reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
            except redis.ResponseError as error:
                if str(error).startswith("UNBLOCKED"):  # while it waited, the server became a replica
                    raise redis.ConnectionError(str(error)) from error
                raise
            if command_name != "BRPOP" or not reply:
                return reply
            queue, item = reply
            try:
                return queue, sound(item, queue.decode())
            except EnvelopeInvalid as error:
                log.warning("to the dead list: %s", error)
                on_dead()
                # Another connection: this one is between a command and kombu's next.
                redis.Redis(connection_pool=self.connection_pool).lpush(
                    dead, _letter(queue.decode(), item, str(error))
                )
                return None

    class GuardedChannel(Channel):
        def _get_client(self) -> type[redis.Redis]:
            super()._get_client()  # type: ignore[misc] # checks redis-py's version
            return GuardedRedis

    class GuardedTransport(Transport):
        Channel = GuardedChannel
        # A replica after a failover, or a server that is full: kombu connects anew until it may write.
        connection_errors = (*Transport.connection_errors, redis.ReadOnlyError, redis.OutOfMemoryError)

    aliases: dict[str, Any] = TRANSPORT_ALIASES
    for scheme in ("redis", "rediss"):
        aliases[scheme] = lambda: GuardedTransport


@dataclass(frozen=True)
class DeadLetter:
    """A message that no worker could take."""

    queue: str
    reason: str
    at: str
    message: bytes


def dead_list(deployment: str) -> str:
    """The Redis list of dead letters, the newest first."""
    return f"{deployment}.dead"


def dead_letters(settings: BrokerSettings) -> list[DeadLetter]:
    """The newest first."""
    broker: Any = redis.Redis.from_url(settings.broker_url.get_secret_value())
    return [_parsed(letter) for letter in broker.lrange(dead_list(settings.deployment), 0, -1)]


def push_back(settings: BrokerSettings) -> int:
    """Move every dead letter's message to the queue it came from; returns how many."""
    broker: Any = redis.Redis.from_url(settings.broker_url.get_secret_value())
    letters = broker.lrange(dead_list(settings.deployment), 0, -1)
    for letter in letters:
        dead = _parsed(letter)
        with broker.pipeline() as both:  # in the queue or in the list, never in neither
            both.lpush(dead.queue, dead.message)
            both.lrem(dead_list(settings.deployment), 1, letter)
            both.execute()
    return len(letters)


def _letter(queue: str, item: bytes, reason: str) -> str:
    """What is kept of a message: its bytes, and why it lies here."""
    return json.dumps(
        {
            "queue": queue,
            "reason": reason,
            "at": datetime.now(UTC).isoformat(),
            "message": base64.b64encode(item).decode(),
        }
    )


def _parsed(letter: bytes) -> DeadLetter:
    fields = json.loads(letter)
    return DeadLetter(fields["queue"], fields["reason"], fields["at"], base64.b64decode(fields["message"]))
