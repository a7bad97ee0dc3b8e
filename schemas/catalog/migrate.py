"""Bring a catalog to this release's schema: `cogenre catalog migrate`.

Tables change by numbered Alembic revisions. Views and roles, which hold no data, are made anew from
`analytics.sql` after each migration.
"""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from schemas.catalog.tables import Base

FOLDER = Path(__file__).parent
ADVISORY_LOCK = 0x636F67656E7265
"""Held while migrating, so that two deployments at once do not migrate twice."""


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    """The revision that this release expects."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER / "migrations"))
    return str(ScriptDirectory.from_config(config).get_current_head())


def current_revision(connection: Connection) -> str | None:
    """The catalog's own revision; None if it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Upgrade to the newest revision in one transaction; returns the revisions before and after."""
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        before = current_revision(connection)
        # A view keeps the columns it reads from being changed.
        connection.execute(text("drop schema if exists analytics cascade"))
        command.upgrade(alembic_config(connection), "head")
        connection.exec_driver_sql((FOLDER / "analytics.sql").read_text())
        return before, newest_revision()


def differences(connection: Connection) -> list[object]:
    """What the database's tables differ in from `tables.py`; empty where they agree."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
