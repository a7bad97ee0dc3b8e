"""A Celery worker in a thread: its heartbeats, and what is recorded of its jobs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from celery.signals import worker_shutting_down
from prometheus_client import REGISTRY

from schemas.jobs import QUEUE_BACKFILL, TASK_NAME, ObjectRef, TrackJob
from tests.worker.processes import wait_until
from worker.local.stack import LocalStack
from worker.observe.health import Health
from worker.observe.logs import TRACE_ID, TRACK_ID
from worker.queue import event_loop
from worker.queue.celery_app import celery_app
from worker.queue.delivery import (
    QUEUE,
    log_track_id,
    observe_delivery,
    record_commit,
    record_start,
    seconds_since_published,
)
from worker.queue.enqueue import publish_jobs
from worker.queue.envelope import PUBLISHED_AT
from worker.settings import BrokerSettings

TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Running:
    app: Celery
    health: Health
    recorded: list[tuple[str | None, str | None, str, float | None]]
    """Track id, trace id, queue and number of jobs in flight, of each job."""

    @property
    def is_registered(self) -> bool:
        """Whether the heartbeats of the event loop are monitored."""
        return event_loop.THREAD in self.health.heartbeats.threads()


@pytest.fixture
def running(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(event_loop, "HEARTBEAT_SECONDS", 0.1)
    app = celery_app(BrokerSettings.load())
    running = Running(app, Health(), [])

    @app.task(name=TASK_NAME, bind=True, shared=False)
    def classify_track(task: "Task[Any, Any]", /, **message: Any) -> None:
        with log_track_id(message), observe_delivery(task.request, message):
            moment = datetime.fromisoformat(message["enqueued_at"])
            record_start(moment)
            in_flight = REGISTRY.get_sample_value("cogenre_tracks_in_flight")
            running.recorded.append((TRACK_ID.get(), TRACE_ID.get(), QUEUE.get(), in_flight))
            record_commit(moment)

    event_loop.attach_health(app, running.health)
    with start_worker(app, pool="threads", concurrency=1, perform_ping_check=False, shutdown_timeout=20):
        yield running


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_queue_trace_and_wait_of_a_job_are_recorded(running: Running) -> None:
    before = sample("cogenre_enqueue_to_commit_seconds_sum", queue=QUEUE_BACKFILL)
    running.app.send_task(
        TASK_NAME,
        kwargs={"track_id": "t1", "enqueued_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat()},
        queue=QUEUE_BACKFILL,
        headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
    )
    wait_until(lambda: sample("cogenre_enqueue_to_commit_seconds_sum", queue=QUEUE_BACKFILL) > before, 20)
    assert running.recorded == [("t1", TRACE, QUEUE_BACKFILL, 1)]
    waited = sample("cogenre_enqueue_to_commit_seconds_sum", queue=QUEUE_BACKFILL) - before
    assert 3600 <= waited < 3700
    wait_until(lambda: sample("cogenre_tracks_in_flight") == 0, 5)


@pytest.mark.parametrize("published_at", [None, "yesterday", "2026-01-01T00:00:00", 7])
def test_without_a_valid_header_the_wait_starts_at_enqueued_at(published_at: object) -> None:
    request = SimpleNamespace(delivery_info={}, headers={PUBLISHED_AT: published_at})
    with observe_delivery(request, {}):
        assert 3600 <= seconds_since_published(datetime.now(UTC) - timedelta(hours=1)) < 3700


def test_the_wait_of_a_job_that_is_enqueued_again_starts_at_its_last_publication(running: Running) -> None:
    before = sample("cogenre_enqueue_to_commit_seconds_sum", queue=QUEUE_BACKFILL)
    jobs_before = sample("cogenre_enqueue_to_commit_seconds_count", queue=QUEUE_BACKFILL)
    audio = ObjectRef(bucket="music", key="k")
    year_ago = datetime.now(UTC) - timedelta(days=365)
    job = TrackJob(schema_version=1, track_id="t1", audio=audio, enqueued_at=year_ago)
    publish_jobs(running.app, [job], QUEUE_BACKFILL)
    wait_until(
        lambda: sample("cogenre_enqueue_to_commit_seconds_count", queue=QUEUE_BACKFILL) > jobs_before, 20
    )
    assert sample("cogenre_enqueue_to_commit_seconds_sum", queue=QUEUE_BACKFILL) - before < 3600


def test_the_event_loop_sends_heartbeats_and_is_not_monitored_during_an_outage(
    running: Running, stack: LocalStack
) -> None:
    wait_until(lambda: running.is_registered, 20)
    time.sleep(0.5)
    assert running.health.heartbeats.age(event_loop.THREAD) < 0.4
    stack.redis.kill()
    try:
        wait_until(lambda: not running.is_registered, 20)
        assert running.health.liveness() == (True, "live")
    finally:
        stack.redis.start()
    wait_until(lambda: running.is_registered, 30)


def test_a_worker_is_not_ready_during_shutdown(running: Running) -> None:
    running.health.set_warm()
    assert running.health.readiness() == (True, "ready")
    worker_shutting_down.send(sender="test", sig="SIGTERM", how="Warm", exitcode=0)
    assert running.health.readiness() == (False, "draining")
