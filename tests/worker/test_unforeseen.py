"""The catalog fails in a way of its own: no job is acknowledged for it, and all are labelled afterwards."""

from typing import Any

import pytest
import redis
from sqlalchemy import Engine, NullPool, create_engine, text

from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until

IMPATIENT = {"COGENRE_TRANSIENT_SECONDS": "1", "COGENRE_CONCURRENCY": "2"}

CUT_WORKERS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cogenre'"
"""A setting of a database holds for new connections."""


@pytest.fixture
def broker(environment: dict[str, str]) -> Any:
    return redis.Redis.from_url(environment["COGENRE_BROKER_URL"])


def execute(catalog: Engine, *statements: str) -> None:
    """As one who may write although the database is set to be read only."""
    admin = create_engine(
        catalog.url,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"options": "-c default_transaction_read_only=off"},
    )
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def handed_back(broker: Any) -> int:
    """Messages that kombu marked when a worker handed them back."""
    messages = broker.lrange("tracks", 0, -1) + broker.hvals("cogenre.unacked")
    return sum(b'"redelivered": true' in message for message in messages)


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        (
            "alter database {0} set default_transaction_read_only = on",
            "alter database {0} reset default_transaction_read_only",
        ),
        ("alter table track rename to moved", "alter table moved rename to track"),
    ],
    ids=["read only", "other tables"],
)
def test_jobs_outlast_a_catalog_that_cannot_write(
    environment: dict[str, str], catalog: Engine, s3: Any, broker: Any, broken: str, mended: str
) -> None:
    name = f'"{catalog.url.database}"'
    audio = put_audio(s3, "one.flac")
    with running_worker(**IMPATIENT):
        push(job("before", audio))
        wait_until(lambda: count(catalog, "track_current") == 1)
        execute(catalog, broken.format(name), CUT_WORKERS)
        push(job("during-1", audio), job("during-2", audio))
        wait_until(lambda: handed_back(broker) == 2)
        execute(catalog, mended.format(name), CUT_WORKERS)
        wait_until(lambda: count(catalog, "track_current") == 3)
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0)
    assert count(catalog, "ingest_failure") == 0


def test_a_job_whose_end_cannot_be_recorded_stays_in_the_queue(
    environment: dict[str, str], catalog: Engine, broker: Any
) -> None:
    execute(
        catalog,
        "create function refuse() returns trigger language plpgsql as"
        " $$begin raise exception using errcode = '22000'; end$$",
        "create trigger refuse before insert on ingest_failure execute function refuse()",
    )
    with running_worker(**IMPATIENT) as worker:
        push({"track_id": "no-job"})
        wait_until(lambda: handed_back(broker) == 1)
        assert worker.poll() is None
        execute(catalog, "drop trigger refuse on ingest_failure")
        wait_until(lambda: count(catalog, "ingest_failure") == 1)
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0)
