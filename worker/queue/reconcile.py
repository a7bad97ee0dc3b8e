"""The reconciler: enqueues again what the catalog expects and has not seen come to its end.

Redis pops a message before it notes that it is in flight: a worker that dies in between has lost it. And
what was given up for an outage comes back this way.
"""

from celery import Celery
from sqlalchemy import Engine

from schemas.jobs import QUEUE_TRACKS
from worker.catalog.jobs import count_due, take_due
from worker.queue.enqueue import PAGE, publish_jobs
from worker.queue.status import Broker


def reconcile(engine: Engine, app: Celery, broker: Broker) -> int:
    """Enqueue the tracks that are due; returns how many.

    While jobs wait, those that were enqueued after the oldest of them are still in the queue, not lost.
    """
    before = broker.state().next_enqueued_at
    total = 0
    while jobs := take_due(engine, before, PAGE):
        publish_jobs(app, jobs, QUEUE_TRACKS)
        total += len(jobs)
    return total


def due(engine: Engine, broker: Broker) -> int:
    """How many tracks `reconcile` would enqueue."""
    return count_due(engine, broker.state().next_enqueued_at)
