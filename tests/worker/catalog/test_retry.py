"""What a failing catalog means for a job, and what its errors say of one."""

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text

from worker.catalog.connect import connect
from worker.catalog.retry import with_retries
from worker.errors import TryLater
from worker.settings import CatalogSettings

SECRET = "la la la"


@pytest.fixture
def engine(environment: dict[str, str]) -> Engine:
    return connect(CatalogSettings.load(), connections=1)


def run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), {"words": SECRET})


def test_a_refused_value_is_the_callers_fault_at_once(engine: Engine) -> None:
    with pytest.raises(psycopg.DataError, match="division by zero") as raised:
        with_retries(lambda: run(engine, "select 1 / 0, cast(:words as text)"), 60)
    assert "select" not in str(raised.value)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("select * from nowhere where cast(:words as text) is null", "nowhere"),
        ("set transaction read only; delete from track where id = :words", "read-only"),
    ],
)
def test_other_errors_are_errors_of_the_catalog(engine: Engine, statement: str, message: str) -> None:
    tried: list[int] = []

    def call() -> None:
        tried.append(1)
        with engine.begin() as connection:
            for part in statement.split("; "):
                connection.execute(text(part), {"words": SECRET} if ":words" in part else {})

    with pytest.raises(TryLater, match=message) as raised:
        with_retries(call, 0.5)
    assert len(tried) > 1
    for error in (raised.value, raised.value.__cause__):
        assert "[SQL" not in str(error)


def test_no_free_connection_is_the_catalogs_fault(engine: Engine) -> None:
    engine = create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect(), pytest.raises(TryLater, match="QueuePool limit"):
        with_retries(lambda: run(engine, "select cast(:words as text)"), 0.2)


def test_an_errors_text_holds_no_parameters(engine: Engine) -> None:
    with pytest.raises(Exception, match="hide_parameters") as raised:
        run(engine, "select * from nowhere where cast(:words as text) is null")
    assert SECRET not in str(raised.value)
