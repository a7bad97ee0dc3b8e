"""Reads S3 event notifications from a Redis list and enqueues them as jobs.

```
LIST ─► LIST:processing ─► jobs registered and published ─► removed
                 │ not a notification, or its bucket cannot be listed
                 └─► LIST:dead
```

A notification leaves `LIST:processing` only after its jobs are published, so that after a crash the next run
reads it again. Only one process may read a list.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

from celery import Celery
from sqlalchemy import Engine

from worker.errors import BucketUnlisted
from worker.queue.enqueue import enqueue
from worker.queue.job_sources import jobs_from_event

log = logging.getLogger(__name__)

BLOCK_SECONDS = 1
"""Seconds that a read waits for a notification. Short, so that an interrupt is handled soon."""


def consume_events(
    client: Any,
    events: str,
    s3: Any,
    pattern: re.Pattern[str],
    engine: Engine,
    app: Celery,
    on_published: Callable[[int], None],
) -> None:
    """Enqueue the audio objects in the notifications of the Redis list `events`, until interrupted.

    `pattern` matches the keys of audio (`job_sources`). `on_published` is called with each number of jobs.
    """
    processing = f"{events}:processing"
    while client.lmove(processing, events, "LEFT", "RIGHT"):
        pass  # move back notifications that an earlier run did not finish
    while True:
        notification = client.blmove(events, processing, BLOCK_SECONDS, "RIGHT", "LEFT")
        if notification is None:
            continue
        try:
            enqueue(engine, app, jobs_from_event(s3, notification, pattern), on_published)
        except (ValueError, BucketUnlisted) as error:  # a retry would fail too
            log.warning("notification of %d bytes moved to %s:dead: %s", len(notification), events, error)
            client.lpush(f"{events}:dead", notification)
        client.lrem(processing, 1, notification)
