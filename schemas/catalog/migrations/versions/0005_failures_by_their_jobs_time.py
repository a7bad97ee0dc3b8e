"""When a failed job was enqueued: an older one's result must not hide it; tracks by artist and by ISRC"""

from alembic import op

from schemas.catalog.migrations.online import at_once, build_index, has_column

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Null in the rows that are there: any labels mend them, as before.
EXPAND = """
alter table ingest_failure add column enqueued_at timestamptz;
comment on column ingest_failure.enqueued_at is
    'When the job was enqueued; null = the message was no job.';
comment on column classification.enqueued_at is 'When the newest job with this input was enqueued.';
comment on column classification.timings is
    'Milliseconds a stage; wait: from the job being published until its labels were ready to commit.';
"""

# A column of a view cannot change its type: the view is made anew after the migration.
NUMERIC_WAIT = """
do $$ begin
    if exists (
        select from pg_attribute
        where attrelid = to_regclass('analytics.throughput_hour')
          and attname = 'mean_wait_seconds' and atttypid = 'numeric'::regtype
    ) then
        drop view analytics.throughput_hour;
    end if;
end $$
"""

SHRINK = """
alter table ingest_failure drop column enqueued_at;
comment on column classification.enqueued_at is 'When the job was enqueued.';
comment on column classification.timings is 'Milliseconds a stage.';
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if not has_column("ingest_failure", "enqueued_at"):
            at_once(EXPAND)
        at_once(NUMERIC_WAIT)
        build_index("track_isrc_idx", "track (isrc) where isrc is not null")
        build_index("track_artist_idx", "track (artist) where artist is not null")


def downgrade() -> None:
    """Leaves no views: the older release's `cogenre catalog migrate` makes its own, with fewer columns."""
    with op.get_context().autocommit_block():
        at_once("drop schema if exists analytics cascade")
        op.execute("drop index concurrently if exists track_artist_idx")
        op.execute("drop index concurrently if exists track_isrc_idx")
        if has_column("ingest_failure", "enqueued_at"):
            at_once(SHRINK)
