"""Functions for revisions: they change tables while workers write to them.

A lock request that waits makes every later request for the table wait too. So no statement here waits longer
than `LOCK_TIMEOUT` for a lock. It fails and is run again, until `RETRY_SECONDS` have passed. A long query of
a reader then delays only the migration.

Workers of the previous release write during the migration and after it, until an operator replaces them.
Therefore a revision follows these rules:

- It calls the functions of this module in an autocommit block
  (`with op.get_context().autocommit_block():`). All of them may be called again, so that an interrupted
  migration continues where it stopped.
- A new column has a default, may be null, or is filled by a trigger, because older workers do not write it.
- Existing rows are filled in batches with `for update skip locked`, until none is left. To wait for a row
  that a worker has locked could cause a deadlock.
- Indexes are built with `build_index`, and constraints added with `add_constraint`.
- The revision drops every view with a column whose type changes, and every view that reads a dropped column.
  `schemas.catalog.views` creates these views again.
- A downgrade that forbids a value adds the constraint for new rows before it changes the old rows.

tests/schemas/catalog/example_revision.py is an example.
"""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import OperationalError

LOCK_TIMEOUT = "200ms"
"""Shorter than PostgreSQL's deadlock_timeout of one second, so that in a deadlock the migration's statement
fails and not the statement of a worker."""
RETRY_SECONDS = 300.0
LOCK_NOT_AVAILABLE = "55P03"


def execute_with_lock_timeout(statements: str, connection: sa.Connection | None = None) -> None:
    """Run statements in one transaction, and again while a lock is not available.

    `connection` must be in autocommit mode; None = the migration's own. Raises OperationalError after
    `RETRY_SECONDS`.
    """
    bind = op.get_bind() if connection is None else connection
    deadline = time.monotonic() + RETRY_SECONDS
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
    """Create an index concurrently, unless a valid one exists. Replaces an invalid one."""
    valid = op.get_bind().scalar(
        sa.text("select indisvalid from pg_index where indexrelid = to_regclass(:name)"), {"name": name}
    )
    if valid:
        return
    op.execute(f"drop index concurrently if exists {name}")
    op.execute(f"create index concurrently {name} on {definition}")


def add_constraint(table: str, name: str, definition: str) -> None:
    """Add a constraint for new rows, then validate the existing rows while workers write."""
    add_unvalidated_constraint(table, name, definition)
    op.execute(f"alter table {table} validate constraint {name}")


def add_unvalidated_constraint(table: str, name: str, definition: str) -> None:
    """Add a constraint for new rows only, unless it exists."""
    if not has_constraint(table, name):
        execute_with_lock_timeout(f"alter table {table} add constraint {name} {definition} not valid")


def has_constraint(table: str, name: str) -> bool:
    """Return whether the table has a constraint of this name."""
    query = sa.text("select true from pg_constraint where conrelid = to_regclass(:table) and conname = :name")
    return bool(op.get_bind().scalar(query, {"table": table, "name": name}))


def has_column(table: str, column: str) -> bool:
    """Return whether the table has a column of this name."""
    return any(row["name"] == column for row in sa.inspect(op.get_bind()).get_columns(table))
