"""Changes to tables that workers are writing.

A lock request that waits makes every later request for the table wait too. So no statement here waits for a
lock for longer than `LOCK_TIMEOUT`; it is tried again instead, until `RETRY_SECONDS` have passed. A reader
with a long query then delays the migration, and nobody else.

Workers of the release before write during the migration and after it, until an operator replaces them. A
revision therefore observes these rules:

- It calls the functions of this module in an autocommit block
  (`with op.get_context().autocommit_block():`). All of them may be repeated, so that a migration that was
  interrupted continues where it stopped.
- A new column has a default, may be null, or is filled by a trigger, because older workers do not write it.
- Existing rows are filled in batches with `for update skip locked`, until none is left: waiting for a row
  that a worker holds could deadlock.
- Indexes are built with `build_index`, and constraints added with `add_checked`.
- The revision drops a view whose column changes its type, and every view that reads a dropped column.
  `schemas.catalog.views` creates them again.
- A downgrade that forbids a value adds the constraint for new rows before it changes the old rows.

tests/schemas/catalog/example_revision.py is such a revision.
"""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import OperationalError

LOCK_TIMEOUT = "200ms"
"""Below PostgreSQL's deadlock_timeout of one second, so that a deadlock ends the migration's statement."""
RETRY_SECONDS = 300.0
LOCK_NOT_AVAILABLE = "55P03"


def execute_with_lock_timeout(statements: str, connection: sa.Connection | None = None) -> None:
    """Run statements in one transaction; try again while a lock is not available.

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
    """Create an index concurrently, unless a valid one exists. Replaces what an interrupted build left."""
    valid = op.get_bind().scalar(
        sa.text("select indisvalid from pg_index where indexrelid = to_regclass(:name)"), {"name": name}
    )
    if valid:
        return
    op.execute(f"drop index concurrently if exists {name}")
    op.execute(f"create index concurrently {name} on {definition}")


def add_checked(table: str, name: str, definition: str) -> None:
    """Add a constraint for new rows, then validate the existing rows while workers write."""
    add_unchecked(table, name, definition)
    op.execute(f"alter table {table} validate constraint {name}")


def add_unchecked(table: str, name: str, definition: str) -> None:
    """Add a constraint for new rows only, unless it exists."""
    if not has_constraint(table, name):
        execute_with_lock_timeout(f"alter table {table} add constraint {name} {definition} not valid")


def has_constraint(table: str, name: str) -> bool:
    query = sa.text("select true from pg_constraint where conrelid = to_regclass(:table) and conname = :name")
    return bool(op.get_bind().scalar(query, {"table": table, "name": name}))


def has_column(table: str, column: str) -> bool:
    return any(row["name"] == column for row in sa.inspect(op.get_bind()).get_columns(table))
