"""The reconciler: enqueues registered tracks again that were not finished in time.

It recovers two kinds of jobs. Redis pops a message before it records the message as in flight, so a worker
that dies in between loses the message. And a job that was postponed during an outage is due again later.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Engine

from schemas.jobs import QUEUE_TRACKS
from worker.catalog.jobs import claim_due, count_due
from worker.queue.enqueue import PAGE_SIZE, publish_jobs
from worker.queue.status import QueueMonitor

if TYPE_CHECKING:
    from celery import Celery


def reconcile(engine: Engine, app: "Celery", monitor: QueueMonitor) -> int:
    """Enqueue the tracks that are due. Return how many were enqueued.

    While jobs wait in the queue, a due track is enqueued only if it is older than the next job in the queue:
    jobs enqueued after that one are still in the queue, not lost.
    """
    before = monitor.read_state().next_enqueued_at
    total = 0
    while jobs := claim_due(engine, before, PAGE_SIZE):
        publish_jobs(app, jobs, QUEUE_TRACKS)
        total += len(jobs)
    return total


def count_overdue(engine: Engine, monitor: QueueMonitor) -> int:
    """Return how many tracks `reconcile` would enqueue."""
    return count_due(engine, monitor.read_state().next_enqueued_at)
