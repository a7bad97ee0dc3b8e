"""Changes to tables that are being written: short locks, asked for again and again rather than waited for.

A lock that waits makes all that come after it wait too. So no statement here waits long: a reader with a
long query delays the migration and nobody else. All of these need an autocommit block, and may be repeated.
"""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import OperationalError

LOCK_TIMEOUT = "200ms"
"""Less than PostgreSQL's deadlock_timeout of a second: in a deadlock it is the migration that gives way."""
PATIENCE_SECONDS = 300.0
LOCK_NOT_AVAILABLE = "55P03"


def at_once(statements: str, connection: sa.Connection | None = None) -> None:
    """Run statements in one transaction, trying again while a lock cannot be had.

    `connection`, which commits by itself, is the migration's unless another is given.
    """
    bind = op.get_bind() if connection is None else connection
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            bind.exec_driver_sql(f"begin; set local lock_timeout = '{LOCK_TIMEOUT}'; {statements}; commit")
        except OperationalError as error:
            bind.exec_driver_sql("rollback")
            unavailable = getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE
            if not unavailable or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def build_index(name: str, definition: str) -> None:
    """Build an index without locking writers out. What an interrupted build left is removed first."""
    valid = op.get_bind().scalar(
        sa.text("select indisvalid from pg_index where indexrelid = to_regclass(:name)"), {"name": name}
    )
    if valid:
        return
    op.execute(f"drop index concurrently if exists {name}")
    op.execute(f"create index concurrently {name} on {definition}")


def add_checked(table: str, name: str, definition: str) -> None:
    """Add a constraint: for new rows at once, then for the old ones while writers go on."""
    add_unchecked(table, name, definition)
    op.execute(f"alter table {table} validate constraint {name}")


def add_unchecked(table: str, name: str, definition: str) -> None:
    """Add a constraint for new rows only."""
    if not has_constraint(table, name):
        at_once(f"alter table {table} add constraint {name} {definition} not valid")


def has_constraint(table: str, name: str) -> bool:
    found = sa.text("select true from pg_constraint where conrelid = to_regclass(:table) and conname = :name")
    return bool(op.get_bind().scalar(found, {"table": table, "name": name}))


def has_column(table: str, column: str) -> bool:
    return any(found["name"] == column for found in sa.inspect(op.get_bind()).get_columns(table))
