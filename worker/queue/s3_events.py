"""S3 event notifications from a Redis list into the queue.

```
list ─► list:processing ─► registered and enqueued ─► gone
                 │ no notification, or of a bucket that may not be listed
                 └─► list:dead
```

A notification leaves `list:processing` only when its jobs are published: after a crash it is taken up again.
One process reads a list.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

from celery import Celery
from sqlalchemy import Engine

from worker.errors import BucketUnlisted
from worker.queue.enqueue import enqueue
from worker.queue.job_sources import from_event

log = logging.getLogger(__name__)

WAIT_SECONDS = 1


def read_events(
    broker: Any,
    events: str,
    s3: Any,
    pattern: re.Pattern[str],
    engine: Engine,
    app: Celery,
    published: Callable[[int], None],
) -> None:
    """Enqueue the objects that notifications on the Redis list `events` tell of, until interrupted."""
    processing = f"{events}:processing"
    while broker.lmove(processing, events, "LEFT", "RIGHT"):
        pass  # what an earlier run left half done
    while True:
        notification = broker.blmove(events, processing, WAIT_SECONDS, "RIGHT", "LEFT")
        if notification is None:
            continue
        try:
            enqueue(engine, app, from_event(s3, notification, pattern), published)
        except (ValueError, BucketUnlisted) as error:  # it would be the first again after a restart
            log.warning("to %s:dead: %s", events, error)
            broker.lpush(f"{events}:dead", notification)
        broker.lrem(processing, 1, notification)
