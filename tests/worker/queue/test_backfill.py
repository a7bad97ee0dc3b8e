"""The backfill enqueues every unclassified track once, at most at the given rate, in the backfill queue."""

import json
import time
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from schemas.errors import ConfigError
from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS
from tests.worker.catalog.labels import FakeModel, job, model
from worker.catalog.jobs import Failure, JobCatalog
from worker.catalog.lifecycle import retire
from worker.queue.backfill import Backfill
from worker.queue.celery_app import celery_app
from worker.settings import BrokerSettings

TRACKS = [f"t{at:02}" for at in range(30)]


@pytest.fixture
def shadow(catalog: Engine) -> FakeModel:
    """A shadow model, beside a current model that has labelled all tracks but one, which failed."""
    current = model(catalog, "1")
    for track in TRACKS:
        current.label(track, rock=0.9)
    JobCatalog(catalog).record_failure(
        Failure(job("broken"), "broken", "decode", "CorruptAudio", "why", "{}")
    )
    return model(catalog, "2")


def queued(environment: dict[str, str], queue: str = QUEUE_BACKFILL) -> list[dict[str, Any]]:
    """Return the jobs in a queue, in the order in which they are served."""
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    messages = map(json.loads, broker.lrange(queue, 0, -1)[::-1])
    return [json.loads(message["body"])[1] for message in messages]


def backfill(catalog: Engine, after: str = "") -> Backfill:
    return Backfill(catalog, celery_app(BrokerSettings.load()), "small:2", after)


def test_enqueues_the_tracks_that_the_model_has_not_classified(
    catalog: Engine, environment: dict[str, str], shadow: FakeModel
) -> None:
    shadow.label("t03", jazz=0.9)
    run = backfill(catalog)
    assert run.count_remaining() == len(TRACKS) - 1
    page_sizes: list[int] = []
    assert run.run(1000, lambda: 0, 1000, page_sizes.append) == sum(page_sizes) == len(TRACKS) - 1
    jobs = queued(environment)
    assert [sent["track_id"] for sent in jobs] == [track for track in TRACKS if track != "t03"]
    assert jobs[0]["audio"]["key"] == "audio/t00.flac"
    assert not any(sent["force"] for sent in jobs)
    assert queued(environment, QUEUE_TRACKS) == []


def test_enqueues_a_track_of_which_the_model_has_classified_an_older_version(
    catalog: Engine, environment: dict[str, str], shadow: FakeModel
) -> None:
    for track in TRACKS:
        shadow.label(track, jazz=0.9)
    current = model(catalog, "1")
    current.catalog.write([current.classified("t05", {"rock": 0.9}, day=1, input_hash=b"new master")])
    assert backfill(catalog).count_remaining() == 1
    backfill(catalog).run(1000, lambda: 0, 1000)
    assert [sent["track_id"] for sent in queued(environment)] == ["t05"]


def test_resumes_after_the_last_track(
    catalog: Engine, environment: dict[str, str], shadow: FakeModel
) -> None:
    class InterruptedRunError(Exception):
        pass

    def interrupt(_: int) -> None:
        raise InterruptedRunError

    run = backfill(catalog)
    with pytest.raises(InterruptedRunError):
        run.run(5, lambda: 0, 1000, interrupt)
    assert run.after == "t04"
    backfill(catalog, run.after).run(1000, lambda: 0, 1000)
    assert [sent["track_id"] for sent in queued(environment)] == TRACKS


def test_respects_the_rate(catalog: Engine, environment: dict[str, str], shadow: FakeModel) -> None:
    started = time.monotonic()
    backfill(catalog).run(30, lambda: 0, 10)
    assert 0.9 < time.monotonic() - started < 3


def test_waits_while_the_queue_is_full(
    catalog: Engine, environment: dict[str, str], shadow: FakeModel
) -> None:
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    max_depth = 0

    def count_waiting() -> int:
        """Return the queue's depth, then empty it, as workers would."""
        nonlocal max_depth
        depth = int(broker.llen(QUEUE_BACKFILL))
        max_depth = max(max_depth, depth)
        if depth:
            broker.delete(QUEUE_BACKFILL)
        return depth

    assert backfill(catalog).run(1000, count_waiting, 10) == len(TRACKS)
    assert max_depth == 10


def test_a_retired_model_is_not_backfilled(
    catalog: Engine, environment: dict[str, str], shadow: FakeModel
) -> None:
    retire(catalog, "small:2")
    with pytest.raises(ConfigError, match="small:2 is retired"):
        backfill(catalog)
