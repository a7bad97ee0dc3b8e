"""`cogenre catalog refresh`: refreshes the materialised views while analysts read them."""

import time
from collections.abc import Callable

from psycopg.errors import SerializationFailure
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from schemas.catalog.views import materialised_views
from schemas.errors import ConfigError
from worker.catalog.similarity import index_embeddings

REFRESH_LOCK = 0x72656672657368
"""Key of the advisory lock that is held during a refresh, because a concurrent one would repeat the work."""
MEMORY = "256MB"
"""work_mem of a refresh. With PostgreSQL's default of 4 MB, sorts and hashes spill to disk."""


def refresh(engine: Engine, on_refreshed: Callable[[str, float], None] = lambda *_: None) -> None:
    """Refresh every materialised view, and the index of embeddings if pgvector is installed.

    All views are refreshed from one snapshot, because some views read others and workers write in the
    meantime. `on_refreshed` is called after each view with its name and seconds. Raises ConfigError if
    another refresh is running or has run in the meantime, and if the login does not own the catalog.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": REFRESH_LOCK}):
            raise ConfigError("another refresh is running: wait until it ends")
        try:
            _refresh_views(engine, on_refreshed)
            started = time.monotonic()
            if index_embeddings(connection):
                on_refreshed("similarity.track_vector", time.monotonic() - started)
        except OperationalError as error:
            if not isinstance(error.orig, SerializationFailure):
                raise
            raise ConfigError(
                "another session refreshed a view in the meantime: run `cogenre catalog refresh` again"
            ) from None
        except ProgrammingError as error:
            raise ConfigError(
                f"cannot refresh: {str(error.orig).splitlines()[0]} "
                "(use the login that runs `cogenre catalog migrate`)"
            ) from None
        finally:
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": REFRESH_LOCK})


def _refresh_views(engine: Engine, on_refreshed: Callable[[str, float], None]) -> None:
    snapshot = engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with snapshot as connection, connection.begin():
        connection.exec_driver_sql(f"set local work_mem = '{MEMORY}'")
        for view in materialised_views():
            started = time.monotonic()
            connection.exec_driver_sql(f"refresh materialized view concurrently {view}")
            on_refreshed(view, time.monotonic() - started)
