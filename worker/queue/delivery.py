"""Records each delivered job: its track id for the log, its trace, and metrics of wait and redelivery."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypeVar

from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS
from worker.observe.logs import TRACE_ID, TRACK_ID
from worker.observe.metrics import ENQUEUE_TO_COMMIT_SECONDS, IN_FLIGHT, QUEUE_WAIT_SECONDS, REDELIVERIES
from worker.observe.tracing import job_span
from worker.queue.envelope import parse_published_at

Value = TypeVar("Value")

QUEUE: ContextVar[str] = ContextVar("queue", default="none")
"""The queue that this thread's job came from; "none" outside a job."""

_published_at: ContextVar[datetime | None] = ContextVar("published_at", default=None)


@contextmanager
def log_track_id(message: Mapping[str, Any]) -> Iterator[None]:
    """Give each log line of this thread the track id of `message` while the context is open.

    `message` holds the task's keyword arguments, not yet validated.
    """
    with _set_variable(TRACK_ID, _track_id(message)):
        yield


@contextmanager
def observe_delivery(request: Any, message: Mapping[str, Any]) -> Iterator[None]:
    """Record the processing of `message` while the context is open.

    `request` is Celery's `task.request`. `message` holds the task's keyword arguments, not yet validated.
    """
    info = request.delivery_info or {}
    if info.get("redelivered"):
        REDELIVERIES.inc()
    queue = info.get("routing_key")
    headers = request.headers or {}
    with (
        job_span(_track_id(message), headers.get("traceparent")) as trace_id,
        IN_FLIGHT.track_inprogress(),
        _set_variable(TRACE_ID, trace_id),
        # The producer sets the routing key, so only the names of the two queues become a metric label.
        _set_variable(QUEUE, queue if queue in (QUEUE_TRACKS, QUEUE_BACKFILL) else "none"),
        _set_variable(_published_at, parse_published_at(headers)),
    ):
        yield


def record_start(enqueued_at: datetime) -> None:
    """Record the job's wait in the queue. Called after its message was validated."""
    QUEUE_WAIT_SECONDS.labels(QUEUE.get()).observe(seconds_since_published(enqueued_at))


def record_commit(enqueued_at: datetime) -> None:
    """Record the job's time from publication to commit. Called after its labels were committed."""
    ENQUEUE_TO_COMMIT_SECONDS.labels(QUEUE.get()).observe(seconds_since_published(enqueued_at))


def seconds_since_published(enqueued_at: datetime) -> float:
    """Return the seconds since this thread's job was published, at least 0.

    Without a valid header `published_at`, counts from the job's `enqueued_at`. The result is not negative
    even if the producer's clock is ahead of the worker's.
    """
    return max(0.0, (datetime.now(UTC) - (_published_at.get() or enqueued_at)).total_seconds())


def _track_id(message: Mapping[str, Any]) -> str:
    return str(message.get("track_id"))[:255]


@contextmanager
def _set_variable(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
