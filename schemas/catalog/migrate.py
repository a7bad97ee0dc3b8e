"""Bring a catalog to this release's schema: `cogenre catalog migrate`.

Tables change by numbered Alembic revisions, while workers write. Views and grants, which hold no data, follow
from `analytics.sql` and `access.py` after each migration.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from schemas.catalog.access import grant_groups
from schemas.catalog.tables import Base
from schemas.catalog.views import replace_views

FOLDER = Path(__file__).parent
ADVISORY_LOCK = 0x636F67656E7265
"""Held while migrating, so that two deployments at once do not migrate twice."""


@dataclass(frozen=True)
class Migration:
    """What `migrate` did."""

    before: str | None
    """The revision found; None = never migrated."""
    after: str
    notes: tuple[str, ...] = ()
    """What was left undone, and what to do about it."""


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    """The revision that this release expects."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def current_revision(connection: Connection) -> str | None:
    """The catalog's own revision; None if it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> Migration:
    """Upgrade to the newest revision, views and grants included. Workers may write meanwhile, analysts read.

    Raises ViewsInUse where people built views on those that have to be made anew.
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
    """Go back to an earlier revision.

    A revision may drop the views: then `cogenre catalog migrate` of the earlier release creates its own.
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


def differences(connection: Connection) -> list[object]:
    """What the database's tables differ in from `tables.py`; empty where they agree."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
