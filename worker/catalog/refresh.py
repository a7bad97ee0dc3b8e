"""`cogenre catalog refresh`: the materialised views, while readers go on reading."""

import time
from collections.abc import Callable

from psycopg.errors import SerializationFailure
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from schemas.catalog.views import materialised_views
from schemas.errors import ConfigError
from worker.catalog.similarity import index_embeddings

REFRESH_LOCK = 0x72656672657368
"""Held while refreshing: a second refresh at the same time would do the same work again."""
MEMORY = "256MB"
"""For each sort and hash of a refresh. With PostgreSQL's default of 4 MB they go to disk."""


def refresh(engine: Engine, done: Callable[[str, float], None] = lambda *_: None) -> None:
    """Refresh every materialised view, and the embeddings' index where there is pgvector.

    All views are of one moment: some are made from others, and workers write meanwhile.
    `done` hears of each, with its seconds. Raises ConfigError where another refresh is under way, or came in
    between, and where the login does not own the catalog.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": REFRESH_LOCK}):
            raise ConfigError("another refresh is under way: wait for it")
        try:
            _refresh_views(engine, done)
            started = time.monotonic()
            if index_embeddings(connection):
                done("similarity.track_vector", time.monotonic() - started)
        except OperationalError as error:
            if not isinstance(error.orig, SerializationFailure):
                raise
            raise ConfigError("a view was refreshed by other means meanwhile: refresh again") from None
        except ProgrammingError as error:
            raise ConfigError(
                f"cannot refresh: {str(error.orig).splitlines()[0]} (refresh as the login that migrates)"
            ) from None
        finally:
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": REFRESH_LOCK})


def _refresh_views(engine: Engine, done: Callable[[str, float], None]) -> None:
    snapshot = engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with snapshot as connection, connection.begin():
        connection.exec_driver_sql(f"set local work_mem = '{MEMORY}'")
        for view in materialised_views():
            started = time.monotonic()
            connection.exec_driver_sql(f"refresh materialized view concurrently {view}")
            done(view, time.monotonic() - started)
