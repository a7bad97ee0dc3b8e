"""The reconciler: enqueues registered tracks that were not finished in time.

It recovers two kinds of jobs: jobs that were lost, because a worker died after it had popped the message from
Redis and before it had recorded the message as in flight; and jobs that were postponed and are due again.
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

    If the queue is not empty, a due track is enqueued only if it is older than the next job in the queue.
    Newer jobs are not lost: they are still in the queue, behind that job.
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
