"""Unexpected errors of the catalog: no job is acknowledged meanwhile, and all are labelled afterwards."""

from typing import Any

import pytest
import redis
from sqlalchemy import Engine, NullPool, create_engine, text

from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until

SHORT_RETRIES = {"COGENRE_TRANSIENT_SECONDS": "1", "COGENRE_CONCURRENCY": "2"}

END_CONNECTIONS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cogenre'"
"""Ends the workers' connections, because a changed database setting applies only to new ones."""


@pytest.fixture
def broker(environment: dict[str, str]) -> Any:
    return redis.Redis.from_url(environment["COGENRE_BROKER_URL"])


def execute(catalog: Engine, *statements: str) -> None:
    """Run statements on a connection that may write even if the database is set to read-only."""
    admin = create_engine(
        catalog.url,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"options": "-c default_transaction_read_only=off"},
    )
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def count_returned(broker: Any) -> int:
    """Return the number of messages that a worker returned to the queue, which kombu marks."""
    messages = broker.lrange("tracks", 0, -1) + broker.hvals("cogenre.unacked")
    return sum(b'"redelivered": true' in message for message in messages)


@pytest.mark.parametrize(
    ("break_sql", "repair_sql"),
    [
        (
            "alter database {0} set default_transaction_read_only = on",
            "alter database {0} reset default_transaction_read_only",
        ),
        ("alter table track rename to moved", "alter table moved rename to track"),
    ],
    ids=["read only", "missing table"],
)
def test_jobs_survive_a_catalog_that_cannot_be_written(
    environment: dict[str, str], catalog: Engine, s3: Any, broker: Any, break_sql: str, repair_sql: str
) -> None:
    name = f'"{catalog.url.database}"'
    audio = put_audio(s3, "one.flac")
    with running_worker(**SHORT_RETRIES):
        push(job("before", audio))
        wait_until(lambda: count(catalog, "track_current") == 1)
        execute(catalog, break_sql.format(name), END_CONNECTIONS)
        push(job("during-1", audio), job("during-2", audio))
        wait_until(lambda: count_returned(broker) == 2)
        execute(catalog, repair_sql.format(name), END_CONNECTIONS)
        wait_until(lambda: count(catalog, "track_current") == 3)
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0)
    assert count(catalog, "ingest_failure") == 0


def test_a_job_whose_failure_cannot_be_recorded_stays_in_the_queue(
    environment: dict[str, str], catalog: Engine, broker: Any
) -> None:
    execute(
        catalog,
        "create function refuse() returns trigger language plpgsql as"
        " $$begin raise exception using errcode = '22000'; end$$",
        "create trigger refuse before insert on ingest_failure execute function refuse()",
    )
    with running_worker(**SHORT_RETRIES) as worker:
        push({"track_id": "no-job"})
        wait_until(lambda: count_returned(broker) == 1)
        assert worker.poll() is None
        execute(catalog, "drop trigger refuse on ingest_failure")
        wait_until(lambda: count(catalog, "ingest_failure") == 1)
        wait_until(lambda: broker.llen("tracks") == broker.hlen("cogenre.unacked") == 0)
