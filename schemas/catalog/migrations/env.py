"""Alembic's entry: runs the revisions on the connection of `schemas.catalog.migrate`."""

from alembic import context

from schemas.catalog.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # A revision may need to commit before it ends, to change a table while workers write to it.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
