"""What is seen of one delivered job, from when a worker takes it until it lets go of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypeVar

from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS
from worker.observe.logs import TRACE_ID, TRACK_ID
from worker.observe.metrics import ENQUEUE_TO_COMMIT_SECONDS, IN_FLIGHT, QUEUE_WAIT_SECONDS, REDELIVERIES
from worker.observe.tracing import job_span

Value = TypeVar("Value")

QUEUE: ContextVar[str] = ContextVar("queue", default="none")

PUBLISHED_AT = "published_at"
"""The header that says when a message was published: a job that comes again keeps its `enqueued_at`."""

_published_at: ContextVar[datetime | None] = ContextVar("published_at", default=None)


@contextmanager
def delivered(request: Any, message: Mapping[str, Any]) -> Iterator[None]:
    """Around the work on `message`; `request` is Celery's."""
    info = request.delivery_info or {}
    if info.get("redelivered"):
        REDELIVERIES.inc()
    queue = info.get("routing_key")
    headers = request.headers or {}
    track_id = str(message.get("track_id"))[:255]
    with (
        job_span(track_id, headers.get("traceparent")) as trace_id,
        IN_FLIGHT.track_inprogress(),
        _set(TRACK_ID, track_id),
        _set(TRACE_ID, trace_id),
        # Producers write the routing key: only ours may become a label.
        _set(QUEUE, queue if queue in (QUEUE_TRACKS, QUEUE_BACKFILL) else "none"),
        _set(_published_at, published_at(headers)),
    ):
        yield


def started(enqueued_at: datetime) -> None:
    """A job's message was understood, and work on it begins."""
    QUEUE_WAIT_SECONDS.labels(QUEUE.get()).observe(waited(enqueued_at))


def committed(enqueued_at: datetime) -> None:
    """A job's labels are in the catalog."""
    ENQUEUE_TO_COMMIT_SECONDS.labels(QUEUE.get()).observe(waited(enqueued_at))


def waited(enqueued_at: datetime) -> float:
    """Seconds since the job was published; since its `enqueued_at`, where its producer does not say.

    A producer's clock may be ahead of ours.
    """
    return max(0.0, (datetime.now(UTC) - (_published_at.get() or enqueued_at)).total_seconds())


@contextmanager
def _set(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def published_at(headers: Mapping[str, Any]) -> datetime | None:
    """None where the header is missing, or no moment: anybody may have written it."""
    header = headers.get(PUBLISHED_AT)
    try:
        moment = datetime.fromisoformat(header) if isinstance(header, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None
