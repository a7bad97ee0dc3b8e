"""The internal data layouts of Celery and kombu that cogenre uses. An upgrade that changes one fails here."""

import json
from typing import Any

import pytest
import redis
from kombu import Connection

from schemas.jobs import TASK_NAME
from tests.worker.jobs import push
from worker.queue.broker import unacked_index_key, unacked_key
from worker.queue.celery_app import celery_app
from worker.settings import BrokerSettings


@pytest.fixture
def broker(environment: dict[str, str]) -> Any:
    return redis.Redis.from_url(environment["COGENRE_BROKER_URL"])


def test_a_queue_is_one_redis_list_of_json_envelopes(broker: Any) -> None:
    push({"track_id": "a"}, {"track_id": "b"})
    newest = json.loads(broker.lindex("tracks", 0))
    assert newest["headers"]["task"] == TASK_NAME
    assert newest["content-type"] == "application/json"
    assert set(newest) == {"body", "content-encoding", "content-type", "headers", "properties"}
    assert broker.llen("tracks") == 2


@pytest.fixture
def delivered(broker: Any) -> Any:
    """A message that a consumer has received and not acknowledged."""
    push({"track_id": "a"})
    app = celery_app(BrokerSettings.load())
    with app.connection_for_read() as connection:
        assert isinstance(connection, Connection)
        queue = connection.SimpleQueue("tracks")
        yield queue.get(timeout=5)
        queue.close()


def test_messages_in_flight_are_in_a_hash_and_a_sorted_set_under_the_deployments_keys(
    delivered: Any, broker: Any
) -> None:
    tag = delivered.properties["delivery_tag"]
    assert list(broker.hgetall(unacked_key("cogenre"))) == [tag.encode()]
    ((member, score),) = broker.zrange(unacked_index_key("cogenre"), 0, -1, withscores=True)
    assert member == tag.encode()
    assert score == pytest.approx(broker.time()[0], abs=5)
    message, exchange, routing_key = json.loads(broker.hget(unacked_key("cogenre"), tag))
    assert message["properties"]["delivery_tag"] == tag
    assert (exchange, routing_key) == ("", "tracks") or routing_key == "tracks"


def test_an_acknowledged_message_is_removed(delivered: Any, broker: Any) -> None:
    delivered.ack()
    assert not broker.exists(unacked_key("cogenre"), unacked_index_key("cogenre"), "tracks")


def test_a_requeued_message_is_marked_as_redelivered(delivered: Any, broker: Any) -> None:
    delivered.requeue()
    assert json.loads(broker.lindex("tracks", 0))["headers"]["redelivered"] is True
