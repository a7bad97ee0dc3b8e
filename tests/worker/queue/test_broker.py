import pytest
import redis

from schemas.jobs import QUEUE_TRACKS, TrackJob
from tests.worker.jobs import job
from worker.queue.celery_app import FixedQueueOrder, celery_app
from worker.queue.enqueue import publish_jobs
from worker.settings import BrokerSettings


def test_queues_are_served_in_order_however_kombu_hands_them_over() -> None:
    cycle = FixedQueueOrder()
    for handed in (["backfill", "tracks"], ["tracks", "backfill"]):
        cycle.update(handed)
        assert cycle.consume(2) == ["tracks", "backfill"]
        cycle.rotate("tracks")
        assert cycle.consume(2) == ["tracks", "backfill"]


def test_a_broker_that_is_gone_is_an_error_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGENRE_BROKER_URL", "redis://127.0.0.1:9/0")
    wanted = TrackJob.model_validate(job("lost", {"bucket": "audio", "key": "lost.mp3"}))
    with pytest.raises(redis.RedisError, match="refused"):
        publish_jobs(celery_app(BrokerSettings.load()), [wanted], QUEUE_TRACKS)
