"""Moves messages that cannot be decoded to the dead-letter list, before Celery receives them.

```
BRPOP ─► validate_envelope ─► kombu ─► Celery ─► task
              │ invalid
              └─► dead-letter list: the message's bytes, its queue, the reason
```

Celery and kombu stop, or drop the message silently, when they receive an invalid envelope (`envelope.py`).
"""

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from worker.queue.broker import COMMAND_TIMEOUT_SECONDS, dead_letters_key, redis_client
from worker.queue.envelope import EnvelopeInvalid, validate_envelope
from worker.settings import BrokerSettings

log = logging.getLogger(__name__)


def install_validation(deployment: str, on_dead_letter: Callable[[], None]) -> None:
    """Make every Redis client that kombu creates in this process validate the messages that it pops.

    An invalid message is moved to the dead-letter list of `deployment`; `on_dead_letter` is called for each.
    """
    # Only workers need kombu: `cogenre status` and `cogenre failures` start faster without it.
    from kombu.transport import TRANSPORT_ALIASES
    from kombu.transport.redis import Channel, Transport

    key = dead_letters_key(deployment)

    class ValidatingRedis(redis.Redis):
        def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
            try:
                reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
            except redis.ResponseError as error:
                if str(error).startswith("UNBLOCKED"):  # the server became a replica during a blocking pop
                    raise redis.ConnectionError(str(error)) from error
                raise
            if command_name != "BRPOP" or not reply:
                return reply
            queue, item = reply
            try:
                return queue, validate_envelope(item, queue.decode())
            except EnvelopeInvalid as error:
                log.warning(
                    "invalid message of %d bytes from queue %r moved to the dead-letter list %s: %s",
                    len(item),
                    queue.decode(),
                    key,
                    error,
                )
                on_dead_letter()
                # On another connection, because kombu may already have sent its next command on this one.
                redis.Redis(connection_pool=self.connection_pool).lpush(
                    key, _encode_letter(queue.decode(), item, str(error))
                )
                return None

    class ValidatingChannel(Channel):
        def _get_client(self) -> type[redis.Redis]:
            super()._get_client()  # type: ignore[misc] # checks redis-py's version
            return ValidatingRedis

    class ValidatingTransport(Transport):
        Channel = ValidatingChannel
        # Raised if the server became a replica after a failover, or is out of memory. kombu then reconnects
        # until it can write again.
        connection_errors = (*Transport.connection_errors, redis.ReadOnlyError, redis.OutOfMemoryError)

    aliases: dict[str, Any] = TRANSPORT_ALIASES
    for scheme in ("redis", "rediss"):
        aliases[scheme] = lambda: ValidatingTransport


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be decoded."""

    queue: str
    """The queue that it was popped from."""
    reason: str
    """Text of the error."""
    at: str
    """Time at which it was moved to the list, in ISO 8601."""
    message: bytes
    """The message as it was popped."""


def read_dead_letters(settings: BrokerSettings) -> list[DeadLetter]:
    """Return the deployment's dead letters, newest first."""
    client = redis_client(settings, COMMAND_TIMEOUT_SECONDS)
    letters = client.lrange(dead_letters_key(settings.deployment), 0, -1)
    return [_decode_letter(letter) for letter in letters]


def requeue_dead_letters(settings: BrokerSettings) -> int:
    """Move every dead letter's message back to the queue that it came from. Return how many were moved."""
    client = redis_client(settings, COMMAND_TIMEOUT_SECONDS)
    key = dead_letters_key(settings.deployment)
    letters = client.lrange(key, 0, -1)
    for letter in letters:
        dead = _decode_letter(letter)
        with (
            client.pipeline() as transaction
        ):  # atomic, so that the message is always in the queue or in the list
            transaction.lpush(dead.queue, dead.message)
            transaction.lrem(key, 1, letter)
            transaction.execute()
    return len(letters)


def _encode_letter(queue: str, item: bytes, reason: str) -> str:
    """Return the JSON object that is stored in the dead-letter list."""
    return json.dumps(
        {
            "queue": queue,
            "reason": reason,
            "at": datetime.now(UTC).isoformat(),
            "message": base64.b64encode(item).decode(),
        }
    )


def _decode_letter(letter: bytes) -> DeadLetter:
    fields = json.loads(letter)
    return DeadLetter(fields["queue"], fields["reason"], fields["at"], base64.b64decode(fields["message"]))
