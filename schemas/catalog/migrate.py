"""Migrate a catalog to the schema of this release: `cogenre catalog migrate`.

Numbered Alembic revisions change the tables while workers write. Then the views of `analytics.sql` are
replaced and the groups of `access.py` get their privileges. Views and privileges contain no data, so they
need no revisions.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from schemas.catalog.access import grant_groups
from schemas.catalog.revision import VERSIONS, current_revision, newest_revision
from schemas.catalog.tables import Base
from schemas.catalog.views import replace_views

ADVISORY_LOCK = 0x636F67656E7265
"""Key of the advisory lock that is held during a migration: two deployments must not migrate at once."""


@dataclass(frozen=True)
class Migration:
    """The result of `migrate`."""

    before: str | None
    """Revision before the migration; None = never migrated."""
    after: str
    notes: tuple[str, ...] = ()
    """Steps that failed for lack of privileges, each with the remedy."""


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    config.attributes["connection"] = connection
    return config


def migrate(engine: Engine) -> Migration:
    """Upgrade to the newest revision, and replace views and privileges. Workers and analysts may continue.

    Raises ViewsInUse if views that others created depend on views that must be replaced.
    """
    with _migration_lock(engine), engine.connect() as connection:
        before = current_revision(connection)
        connection.rollback()
        command.upgrade(alembic_config(connection), "head")
        connection.commit()
        replace_views(connection.execution_options(isolation_level="AUTOCOMMIT"))
    with engine.connect() as connection:
        return Migration(before, newest_revision(), grant_groups(connection))


def downgrade(engine: Engine, revision: str) -> None:
    """Downgrade to an earlier revision.

    A revision may drop the views. `cogenre catalog migrate` of the earlier release creates its own views
    again.
    """
    with _migration_lock(engine), engine.connect() as connection:
        command.downgrade(alembic_config(connection), revision)
        connection.commit()


@contextmanager
def _migration_lock(engine: Engine) -> Iterator[None]:
    """Hold the advisory lock, so that one migration runs at a time.

    Polls instead of waiting for the lock: a waiting session holds a snapshot, and `create index concurrently`
    waits for every older snapshot.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}):
            time.sleep(0.2)
        try:
            yield
        finally:
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})


def find_differences(connection: Connection) -> list[object]:
    """Return the differences between the database's tables and `tables.py`, as Alembic lists them."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
