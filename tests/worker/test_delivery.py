"""Messages of any producer, processed by a real worker process: no message stops it, none is lost."""

import base64
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until
from tests.worker.queue.test_envelope import ENVELOPES, GOOD, HARMFUL_PARTS, MALFORMED
from worker.queue.lease import LeaseRenewer


@pytest.fixture
def broker(environment: dict[str, str]) -> Any:
    return redis.Redis.from_url(environment["COGENRE_BROKER_URL"])


def test_golden_envelopes_are_labelled_and_malformed_ones_become_dead_letters(
    environment: dict[str, str], catalog: Engine, s3: Any, broker: Any
) -> None:
    put_audio(s3, "golden.flac")
    put_audio(s3, "golden.txt", b"la la la")
    with running_worker() as worker:
        for item in MALFORMED.values():
            broker.lpush("tracks", item)
        for part in HARMFUL_PARTS.values():
            broker.lpush("tracks", json.dumps(GOOD | part))
        for file in ENVELOPES:
            broker.lpush("tracks", file.read_bytes())
        wait_until(lambda: count(catalog, "track_current") == len(ENVELOPES))
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0)
        assert worker.poll() is None
    dead = [json.loads(letter) for letter in broker.lrange("cogenre.dead", 0, -1)]
    assert {base64.b64decode(letter["message"]) for letter in dead} == set(MALFORMED.values())
    assert all(letter["reason"] and letter["queue"] == "tracks" for letter in dead)
    with catalog.connect() as connection:
        labelled = set(connection.execute(text("select track_id from track_current")).scalars())
        failed = connection.execute(text("select track_id, error_class from ingest_failure")).all()
    assert [tuple(row) for row in failed] == [
        ("golden-minimal", "JobInvalid")
    ]  # the kwarg with the name of the task's argument
    assert labelled == {f"golden-{Path(file).stem}" for file in ENVELOPES}


def test_the_jobs_of_a_killed_worker_are_done_by_another(
    environment: dict[str, str], catalog: Engine, s3: Any, broker: Any
) -> None:
    push(*(job(f"track-{at}", put_audio(s3, f"t{at}.flac", hertz=200 + 9 * at)) for at in range(80)))
    short = {"COGENRE_VISIBILITY_TIMEOUT": "5"}
    with running_worker(**short, COGENRE_CONCURRENCY="2") as worker:
        wait_until(lambda: count(catalog, "track_current") >= 1)
        worker.kill()
        worker.wait()
    assert count(catalog, "track_current") < 80
    with running_worker(**short):
        wait_until(lambda: count(catalog, "track_current") == 80)
        wait_until(lambda: broker.hlen("cogenre.unacked") == 0, seconds=60)
    assert count(catalog, "classification") == 80
    assert count(catalog, "ingest_failure") == 0


def test_leases_are_renewed_only_while_held(broker: Any) -> None:
    renewals: list[int] = []
    leases = LeaseRenewer(broker, "index", timeout=0.3, on_renewal=renewals.append)
    broker.zadd("index", {"held": 1, "other": 1})
    with leases.hold("held"), leases.hold("lost"):
        wait_until(lambda: broker.zscore("index", "held") > time.time() - 1, seconds=5)
        assert broker.zscore("index", "other") == 1
        assert broker.zscore("index", "lost") is None  # a lost lease is not created again
    assert 2 in renewals
    renewed = broker.zscore("index", "held")
    time.sleep(0.4)
    assert broker.zscore("index", "held") == renewed
    leases.close()


def test_an_idle_worker_survives_a_failover_of_the_broker(
    environment: dict[str, str], catalog: Engine, s3: Any, broker: Any
) -> None:
    """Redis becomes a replica: it ends blocking reads with an error, and rejects writes."""
    assert_survives(
        broker,
        catalog,
        put_audio(s3, "one.flac"),
        begin=lambda: broker.replicaof("127.0.0.1", 9),
        end=lambda: broker.replicaof("no", "one"),
        error="READONLY",
        times=1,
    )


def test_a_worker_survives_a_broker_that_is_out_of_memory(
    environment: dict[str, str], catalog: Engine, s3: Any, broker: Any
) -> None:
    assert_survives(
        broker,
        catalog,
        put_audio(s3, "one.flac"),
        begin=lambda: broker.config_set("maxmemory", "100kb"),
        end=lambda: broker.config_set("maxmemory", 0),
        error="OOM",
        times=4,
    )


def assert_survives(
    broker: Any,
    catalog: Engine,
    audio: dict[str, Any],
    *,
    begin: Callable[[], object],
    end: Callable[[], object],
    error: str,
    times: int,
) -> None:
    """A worker labels tracks before and after a fault, during which the broker rejects `times` commands."""

    def count_rejected() -> int:
        return int(broker.info("errorstats").get(f"errorstat_{error}", {}).get("count", 0))

    with running_worker() as worker:
        push(job("before", audio))
        wait_until(lambda: count(catalog, "track_current") == 1)
        before = count_rejected()
        begin()
        try:
            wait_until(lambda: count_rejected() >= before + times or worker.poll() is not None)
        finally:
            end()
        push(job("after", audio))
        wait_until(lambda: count(catalog, "track_current") == 2 or worker.poll() is not None)
        assert worker.poll() is None
    assert count(catalog, "track_current") == 2
    assert worker.returncode == 0


def test_a_worker_with_an_unrecoverable_error_exits_with_1(environment: dict[str, str], broker: Any) -> None:
    with running_worker() as worker:
        broker.set("tracks", "a string instead of a list")
        assert worker.wait(60) == 1


def test_an_interrupted_worker_exits_with_130(environment: dict[str, str], catalog: Engine, s3: Any) -> None:
    with running_worker() as worker:
        push(job("one", put_audio(s3, "one.flac")))
        wait_until(lambda: count(catalog, "track_current") == 1)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 130
