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
from datetime import UTC, datetime
from typing import Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, Transport

from worker.envelope import EnvelopeInvalid, sound

log = logging.getLogger(__name__)


def install_guard(deployment: str) -> None:
    """Let every Redis connection that this process opens through kombu check what it pops."""
    dead = dead_list(deployment)

    class GuardedRedis(redis.Redis):
        def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
            reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
            if command_name != "BRPOP" or not reply:
                return reply
            queue, item = reply
            try:
                return queue, sound(item, queue.decode())
            except EnvelopeInvalid as error:
                log.warning("to the dead list: %s", error)
                # Another connection: this one is between a command and kombu's next.
                redis.Redis(connection_pool=self.connection_pool).lpush(
                    dead, dead_letter(queue.decode(), item, str(error))
                )
                return None

    class GuardedChannel(Channel):
        def _get_client(self) -> type[redis.Redis]:
            super()._get_client()  # type: ignore[misc] # checks redis-py's version
            return GuardedRedis

    class GuardedTransport(Transport):
        Channel = GuardedChannel

    aliases: dict[str, Any] = TRANSPORT_ALIASES
    for scheme in ("redis", "rediss"):
        aliases[scheme] = lambda: GuardedTransport


def dead_list(deployment: str) -> str:
    """The Redis list of messages that no worker could take."""
    return f"{deployment}.dead"


def dead_letter(queue: str, item: bytes, reason: str) -> str:
    """What is kept of a message: enough to mend it and push it again."""
    return json.dumps(
        {
            "queue": queue,
            "reason": reason,
            "at": datetime.now(UTC).isoformat(),
            "message": base64.b64encode(item).decode(),
        }
    )
