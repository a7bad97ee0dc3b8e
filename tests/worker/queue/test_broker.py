import pytest
import redis

from schemas.jobs import QUEUE_TRACKS, TrackJob
from tests.worker.jobs import job
from worker.queue.broker import redis_client
from worker.queue.celery_app import FixedQueueOrder, celery_app
from worker.queue.enqueue import publish_jobs
from worker.settings import BrokerSettings


def test_queues_are_served_in_order_whatever_order_kombu_passes() -> None:
    cycle = FixedQueueOrder()
    for passed in (["backfill", "tracks"], ["tracks", "backfill"]):
        cycle.update(passed)
        assert cycle.consume(2) == ["tracks", "backfill"]
        cycle.rotate("tracks")
        assert cycle.consume(2) == ["tracks", "backfill"]


@pytest.mark.parametrize(("timeout", "connect"), [(10, 5), (2, 2)])
def test_connecting_takes_no_longer_than_its_limit(
    monkeypatch: pytest.MonkeyPatch, timeout: float, connect: float
) -> None:
    monkeypatch.setenv("COGENRE_BROKER_URL", "redis://127.0.0.1:9/0")
    options = redis_client(BrokerSettings.load(), timeout).connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (timeout, connect)


@pytest.mark.heavy  # waits for Celery's retries
def test_an_unreachable_broker_raises_a_redis_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGENRE_BROKER_URL", "redis://127.0.0.1:9/0")
    lost = TrackJob.model_validate(job("lost", {"bucket": "audio", "key": "lost.mp3"}))
    with pytest.raises(redis.RedisError, match="refused"):
        publish_jobs(celery_app(BrokerSettings.load()), [lost], QUEUE_TRACKS)
