"""Alembic's entry: runs the revisions on the connection that `schemas.catalog.migrate` hands over."""

from alembic import context

from schemas.catalog.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # Revisions that change tables under way need transactions of their own.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
