"""Registered tracks that were not finished in time are enqueued again, and no others."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from schemas.jobs import ObjectRef, TrackJob
from tests.worker.jobs import push
from worker.cli import main
from worker.local.stack import LocalStack
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.queue.reconcile import count_overdue, reconcile
from worker.queue.status import QueueMonitor
from worker.settings import BrokerSettings


class Deployment:
    """A deployment with an empty queue and catalog, in which jobs can be lost."""

    def __init__(self, engine: Engine) -> None:
        settings = BrokerSettings.load()
        self.engine = engine
        self.app = celery_app(settings)
        self.monitor = QueueMonitor(settings)
        self.redis: Any = redis.Redis.from_url(settings.broker_url.get_secret_value())

    def enqueue_and_lose(self, *track_ids: str, minutes_ago: float = 120) -> None:
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        enqueue(self.engine, self.app, [_job(track_id, at) for track_id in track_ids])
        self.redis.delete("tracks")
        with self.engine.begin() as connection:
            connection.execute(
                text("update track set due_at = :at where id = any(:ids)"),
                {"at": at + timedelta(hours=1), "ids": list(track_ids)},
            )

    def reconcile(self) -> int:
        return reconcile(self.engine, self.app, self.monitor)


def _job(track_id: str, at: datetime) -> TrackJob:
    audio = ObjectRef(bucket="music", key=f"{track_id}.mp3")
    return TrackJob(schema_version=1, track_id=track_id, audio=audio, enqueued_at=at)


@pytest.fixture
def deployment(environment: dict[str, str], catalog: Engine) -> Deployment:
    return Deployment(catalog)


def test_lost_jobs_are_enqueued_again_once(deployment: Deployment) -> None:
    deployment.enqueue_and_lose(*(f"track-{at}" for at in range(1201)))
    assert count_overdue(deployment.engine, deployment.monitor) == 1201
    assert deployment.reconcile() == 1201
    assert deployment.redis.llen("tracks") == 1201
    deployment.redis.delete("tracks")
    assert deployment.reconcile() == 0, "they are due again only in an hour"


def test_tracks_that_are_not_due_yet_are_not_enqueued(deployment: Deployment) -> None:
    deployment.enqueue_and_lose("fresh", minutes_ago=30)
    assert deployment.reconcile() == 0


def test_finished_tracks_are_not_enqueued(deployment: Deployment) -> None:
    deployment.enqueue_and_lose("done")
    with deployment.engine.begin() as connection:
        connection.execute(text("update track set due_at = null"))
    assert deployment.reconcile() == 0


def test_a_row_without_a_valid_job_fails_and_does_not_block_others(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queue.reconcile.PAGE_SIZE", 2)
    deployment.enqueue_and_lose("bad-1", "bad-2", minutes_ago=300)
    deployment.enqueue_and_lose("good")
    with deployment.engine.begin() as connection:
        connection.execute(text("""update track set job = '{"schema_version": 9}' where id like 'bad-%'"""))
    assert deployment.reconcile() == 1
    with deployment.engine.connect() as connection:
        failures = connection.execute(text("select * from ingest_failure order by track_id")).all()
        left = connection.execute(text("select id from track where due_at < now()")).all()
    assert [(row.track_id, row.stage, row.error_class) for row in failures] == [
        ("bad-1", "reconcile", "JobInvalid"),
        ("bad-2", "reconcile", "JobInvalid"),
    ]
    assert "schema_version" in failures[0].reason
    assert json.loads(failures[0].payload) == {"schema_version": 9}
    assert not left


@pytest.mark.parametrize("unreachable", ["broker", "catalog"])
def test_periodic_runs_continue_after_an_outage(
    deployment: Deployment,
    stack: LocalStack,
    unreachable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def rename(before: str, after: str) -> None:
        with deployment.engine.begin() as connection:
            connection.execute(text(f"alter table {before} rename to {after}"))

    rounds = iter(
        [stack.redis.kill, stack.redis.start]
        if unreachable == "broker"
        else [partial(rename, "track", "moved"), partial(rename, "moved", "track")]
    )

    def sleep(_: float) -> None:
        if (event := next(rounds, None)) is None:
            raise KeyboardInterrupt
        event()

    monkeypatch.setattr("worker.cli.reconcile.sleep", sleep)
    monkeypatch.setattr("sys.argv", ["cogenre", "reconcile", "--every", "5"])
    with pytest.raises(SystemExit) as end:
        main()
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 130
    assert lines[0] == lines[-1] == "enqueued 0 tracks that were due"
    assert "does not answer" in lines[1]


def test_jobs_newer_than_the_next_waiting_job_are_not_lost(deployment: Deployment) -> None:
    deployment.enqueue_and_lose("before", minutes_ago=300)
    deployment.enqueue_and_lose("behind", minutes_ago=120)
    waiting = _job("waiting", datetime.now(UTC) - timedelta(minutes=200))
    push(waiting.model_dump(mode="json"))
    assert deployment.reconcile() == 1
    assert b"waiting" not in deployment.redis.lindex("tracks", 0)
    assert deployment.redis.llen("tracks") == 2
