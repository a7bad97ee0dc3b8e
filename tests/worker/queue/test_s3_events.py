"""S3 event notifications from a Redis list become jobs in the queue."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from tests.worker.jobs import count
from tests.worker.processes import wait_until
from worker.queue.job_sources import DEFAULT_PATTERN, compile_pattern, jobs_from_event

PATTERN = compile_pattern(DEFAULT_PATTERN)


def notification(bucket: str, *keys: str, event: str = "ObjectCreated:Put", **extra: str) -> bytes:
    """Return an event notification as S3 writes it, with the fields that cogenre reads."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "eventName": event,
                    "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, **extra}},
                }
                for key in keys
            ]
        }
    ).encode()


def test_keys_are_decoded_and_lyrics_found(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="in/my song é.txt", Body=b"la")
    event = notification(bucket, "in/my+song+%C3%A9.mp3", "in/other.mp3", "in/cover.jpg", versionId="v1")
    first, second = jobs_from_event(s3, event, PATTERN)
    assert first.track_id == "my song é"
    assert (first.audio.key, first.audio.version_id) == ("in/my song é.mp3", "v1")
    assert first.lyrics is not None
    assert second.lyrics is None


@pytest.mark.parametrize("event", ["ObjectRemoved:Delete", "s3:ObjectRemoved:Delete"])
def test_removals_yield_no_jobs(s3: Any, bucket: str, event: str) -> None:
    assert not list(jobs_from_event(s3, notification(bucket, "a.mp3", event=event), PATTERN))


def test_event_names_of_compatible_servers_are_accepted(s3: Any, bucket: str) -> None:
    event = notification(bucket, "a.mp3", event="s3:ObjectCreated:CompleteMultipartUpload")
    assert len(list(jobs_from_event(s3, event, PATTERN))) == 1


def test_a_test_event_yields_no_job_and_garbage_is_an_error(s3: Any) -> None:
    assert not list(jobs_from_event(s3, b'{"Event": "s3:TestEvent"}', PATTERN))
    for garbage in (b"x", b"[]", b'{"Records": [{}]}', b'{"Records": 1}'):
        with pytest.raises(ValueError, match="not an S3 event notification"):
            list(jobs_from_event(s3, garbage, PATTERN))


def test_a_list_of_notifications_is_enqueued(
    environment: dict[str, str], catalog: Engine, s3: Any, bucket: str
) -> None:
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    broker.lpush("events:processing", notification(bucket, "half-done.mp3"))
    unlisted, unnameable = notification("nowhere", "d.mp3"), notification("no bucket's name!", "e.mp3")
    good = notification(bucket, "a.mp3", "b.mp3"), notification(bucket, "c.mp3")
    for item in (good[0], b"garbage", unlisted, unnameable, good[1]):
        broker.lpush("events", item)
    command = [sys.executable, "-m", "worker.cli", "enqueue", "redis:events"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as reader:
        wait_until(lambda: count(catalog, "track") == 4 and broker.llen("tracks") == 4)
        wait_until(lambda: not broker.exists("events", "events:processing"))
        reader.send_signal(signal.SIGINT)
    assert reader.returncode == 130
    assert broker.lrange("events:dead", 0, -1) == [unnameable, unlisted, b"garbage"]
    with catalog.connect() as connection:
        registered = set(connection.execute(text("select id from track")).scalars())
    assert registered == {"half-done", "a", "b", "c"}
