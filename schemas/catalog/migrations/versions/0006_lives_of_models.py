"""Lives of models: when one was promoted, when a worker served it last, what it calls its genres"""

from alembic import op

from schemas.catalog.migrations.online import at_once, has_column

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# When an earlier model was promoted is not known; the current one has been since then at the latest.
EXPAND = """
alter table model
    add column promoted_at timestamptz, add column served_at timestamptz,
    add column genre_names text[], add column genre_parents smallint[];
update model set promoted_at = registered_at where status = 'current';
comment on column model.promoted_at is
    'When it became the current model; null = never, or before it was noted.';
comment on column model.served_at is 'When a worker last had it loaded, to the minute; null = never.';
comment on column model.genre_names is
    'Display names of genre_ids, shown from its promotion on; null = not noted.';
comment on column model.genre_parents is
    'Parents of genre_ids, shown from its promotion on; null = not noted.';
"""

# `cogenre catalog migrate` makes the views anew, of whichever release: it looks at the schema's comment.
SHRINK = """
do $$ begin
    if to_regnamespace('analytics') is not null then comment on schema analytics is null; end if;
end $$;
drop view if exists analytics.compared_track cascade;
alter table model
    drop column promoted_at, drop column served_at, drop column genre_names, drop column genre_parents
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if not has_column("model", "promoted_at"):
            at_once(EXPAND)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        if has_column("model", "promoted_at"):
            at_once(SHRINK)
