"""Tracks that are due: when to enqueue one again, how often it was tried; results found by what went in"""

from alembic import op

from schemas.catalog.migrations.online import at_once, build_index, has_column

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

EXPAND = """
alter table track add column attempts smallint not null default 0, add column due_at timestamptz;
comment on column track.attempts is
    'How often it was given up since it last came to an end: worker died, S3 or catalog away.';
comment on column track.due_at is
    'If it has not come to an end by then, the reconciler enqueues it again; null = it has.';
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if not has_column("track", "due_at"):
            at_once(EXPAND)
        build_index("track_due_idx", "track (due_at) where due_at is not null")
        build_index("classification_input_idx", "classification (input_hash, model_id)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("drop index concurrently if exists classification_input_idx")
        op.execute("drop index concurrently if exists track_due_idx")
        if has_column("track", "due_at"):
            at_once("alter table track drop column attempts, drop column due_at")
