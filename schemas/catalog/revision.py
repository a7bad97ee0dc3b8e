"""The revision of a catalog's schema, read without Alembic: every command checks it when it connects."""

from pathlib import Path

from sqlalchemy import Connection, text

VERSIONS = Path(__file__).parent / "migrations" / "versions"


def newest_revision() -> str:
    """Return the revision that this release needs: the highest file number in `migrations/versions`."""
    return max(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*.py"))


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the catalog; None if it was never migrated."""
    if connection.scalar(text("select to_regclass('alembic_version')")) is None:
        return None
    revision = connection.scalar(text("select version_num from alembic_version"))
    return None if revision is None else str(revision)
