"""What the catalog expects and has not seen come to its end is enqueued again, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from schemas.jobs import ObjectRef, TrackJob
from tests.worker.jobs import push
from worker.broker import celery_app
from worker.enqueue import enqueue
from worker.reconcile import due, reconcile
from worker.settings import BrokerSettings
from worker.status import Broker


class Deployment:
    """An empty queue and catalog, and what was registered and got lost."""

    def __init__(self, engine: Engine) -> None:
        settings = BrokerSettings.load()
        self.engine = engine
        self.app = celery_app(settings)
        self.broker = Broker(settings)
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
        return reconcile(self.engine, self.app, self.broker)


def _job(track_id: str, at: datetime) -> TrackJob:
    audio = ObjectRef(bucket="music", key=f"{track_id}.mp3")
    return TrackJob(schema_version=1, track_id=track_id, audio=audio, enqueued_at=at)


@pytest.fixture
def deployment(environment: dict[str, str], catalog: Engine) -> Deployment:
    return Deployment(catalog)


def test_lost_jobs_are_enqueued_again_once(deployment: Deployment) -> None:
    deployment.enqueue_and_lose(*(f"track-{at}" for at in range(1201)))
    assert due(deployment.engine, deployment.broker) == 1201
    assert deployment.reconcile() == 1201
    assert deployment.redis.llen("tracks") == 1201
    deployment.redis.delete("tracks")
    assert deployment.reconcile() == 0, "they are expected anew for an hour"


def test_what_is_not_due_yet_is_left_alone(deployment: Deployment) -> None:
    deployment.enqueue_and_lose("fresh", minutes_ago=30)
    assert deployment.reconcile() == 0


def test_what_came_to_an_end_is_left_alone(deployment: Deployment) -> None:
    deployment.enqueue_and_lose("done")
    with deployment.engine.begin() as connection:
        connection.execute(text("update track set due_at = null"))
    assert deployment.reconcile() == 0


def test_jobs_behind_the_oldest_that_waits_are_not_lost(deployment: Deployment) -> None:
    deployment.enqueue_and_lose("before", minutes_ago=300)
    deployment.enqueue_and_lose("behind", minutes_ago=120)
    waiting = _job("waiting", datetime.now(UTC) - timedelta(minutes=200))
    push(waiting.model_dump(mode="json"))
    assert deployment.reconcile() == 1
    assert b"waiting" not in deployment.redis.lindex("tracks", 0)
    assert deployment.redis.llen("tracks") == 2
