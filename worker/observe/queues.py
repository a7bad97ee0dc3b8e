"""The broker's state as gauges, read when somebody scrapes."""

import math

import redis

from worker.observe.metrics import DEAD_LETTER_MESSAGES, QUEUE_JOBS, QUEUE_OLDEST_SECONDS, UNACKED_JOBS
from worker.queue.broker import QUEUES
from worker.queue.status import Broker


def refresh(broker: Broker) -> None:
    """NaN where the broker does not answer: no alert is to be silenced by an old value, nor raised by a 0."""
    try:
        state = broker.state()
    except redis.RedisError:
        for queue in QUEUES:
            QUEUE_JOBS.labels(queue).set(math.nan)
            QUEUE_OLDEST_SECONDS.labels(queue).set(math.nan)
        UNACKED_JOBS.set(math.nan)
        DEAD_LETTER_MESSAGES.set(math.nan)
        return
    for queue, jobs in state.queues.items():
        QUEUE_JOBS.labels(queue).set(jobs.waiting)
        QUEUE_OLDEST_SECONDS.labels(queue).set(jobs.oldest_seconds or 0)
    UNACKED_JOBS.set(state.in_flight)
    DEAD_LETTER_MESSAGES.set(state.dead)
