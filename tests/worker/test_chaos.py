"""Workers and servers are killed at random; every track is catalogued once. The seed repeats a run."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from schemas.catalog.migrate import migrate
from storage.client import s3_client
from tests.conftest import DEMO_BUNDLE
from tests.faulty_s3 import FaultyS3
from tests.worker.jobs import job, put_audio
from tests.worker.processes import WorkerProcess, wait_until
from worker.local.stack import LocalStack, local_stack
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.queue.job_sources import job_from_fields
from worker.queue.reconcile import reconcile
from worker.queue.status import QueueMonitor
from worker.settings import BrokerSettings

VISIBILITY_SECONDS = 5


class Chaos:
    """Two workers on a stack of their own, and the faults that are injected."""

    def __init__(self, stack: LocalStack, s3: FaultyS3, catalog: Engine, seed: int) -> None:
        self.stack = stack
        self.s3 = s3
        self.catalog = catalog
        self.random = random.Random(seed)
        self.settings = {
            "COGENRE_S3_ENDPOINT_URL": s3.url,
            "COGENRE_VISIBILITY_TIMEOUT": str(VISIBILITY_SECONDS),
            "COGENRE_TRANSIENT_SECONDS": "2",
            "COGENRE_MAX_ATTEMPTS": "1000",
        }
        self.workers: list[WorkerProcess] = []

    def start_worker(self) -> None:
        self.workers.append(WorkerProcess(self.settings))

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()

    def kill_a_worker(self) -> None:
        victim = self.workers.pop(self.random.randrange(len(self.workers)))
        victim.kill()
        self.start_worker()

    def restart_redis(self) -> None:
        self.stack.redis.kill()
        time.sleep(self.random.uniform(0, 1))
        self.stack.redis.start()

    def restart_postgres(self) -> None:
        self.stack.postgres.kill()
        time.sleep(self.random.uniform(0, 1))
        self.stack.postgres.start()

    def break_s3(self) -> None:
        self.s3.down.set()
        time.sleep(4)
        self.s3.down.clear()

    def query(self, sql: str) -> Any:
        """Return the result of a query, once the catalog has recovered from a crash."""
        while True:
            try:
                with self.catalog.connect() as connection:
                    return connection.execute(text(sql)).scalar_one()
            except OperationalError:
                time.sleep(0.1)

    def reconcile(self) -> None:
        """Run the reconciler, with all unfinished tracks made due."""
        settings = BrokerSettings.load()
        with self.catalog.begin() as connection:
            connection.execute(
                text("update track set due_at = now() - interval '1 second' where due_at is not null")
            )
        reconcile(self.catalog, celery_app(settings), QueueMonitor(settings))


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """A stack for this test only, because its servers are killed."""
    with local_stack() as running:
        for name, value in (running.environment() | {"COGENRE_BUNDLE": str(DEMO_BUNDLE)}).items():
            monkeypatch.setenv(name, value)
        yield running


def run(stack: LocalStack, seed: int, tracks: int, kills: int, restarts: int) -> None:
    catalog = create_engine(
        stack.catalog_url.replace("postgresql", "postgresql+psycopg", 1), pool_pre_ping=True
    )
    migrate(catalog)
    s3 = s3_client()
    jobs = [job(f"track-{at}", put_audio(s3, f"{at}.flac", hertz=100 + at)) for at in range(tracks)]
    with ExitStack() as context:
        faulty = context.enter_context(FaultyS3(stack.s3_port).serving())
        chaos = Chaos(stack, faulty, catalog, seed)
        context.callback(chaos.stop)
        events = [chaos.kill_a_worker] * kills + [chaos.restart_redis, chaos.restart_postgres] * restarts
        events.append(chaos.break_s3)
        chaos.random.shuffle(events)
        enqueue(
            catalog,
            celery_app(BrokerSettings.load()),
            [job_from_fields(fields) for fields in jobs],
        )
        for _ in range(2):
            chaos.start_worker()
        for event in events:
            time.sleep(chaos.random.uniform(0.5, 3))
            event()
        wait_until(lambda: _is_finished(chaos, tracks), seconds=300)
        assert chaos.query("select count(*) from track_current") == tracks
        assert chaos.query("select count(*) from classification") == tracks
        assert chaos.query("select count(*) from ingest_failure") == 0
        assert chaos.query("select count(*) from track where due_at is not null") == 0
        # When the last lease of a killed worker expires, its job is delivered again and skipped.
        broker: Any = redis.Redis.from_url(os.environ["COGENRE_BROKER_URL"])
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0, seconds=60)
        assert chaos.query("select count(*) from classification") == tracks
        assert not broker.exists("cogenre.dead")
    catalog.dispose()


def _is_finished(chaos: Chaos, tracks: int) -> bool:
    """Return whether all tracks are catalogued. If not, enqueue lost jobs again by the reconciler."""
    if chaos.query("select count(*) from track_current") == tracks:
        return True
    time.sleep(VISIBILITY_SECONDS)
    chaos.reconcile()
    return False


def test_few_faults(stack: LocalStack) -> None:
    run(stack, seed=1, tracks=60, kills=3, restarts=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
def test_many_faults(stack: LocalStack, seed: int) -> None:
    run(stack, seed=seed, tracks=500, kills=20, restarts=2)
