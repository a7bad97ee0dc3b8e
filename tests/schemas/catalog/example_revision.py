"""A revision for the tests: what a next release may change while workers of this one write.

test_migrate.py copies it into the migrations, numbered after the newest revision. It adds a column that older
workers do not write, an index, constraints, and a value that older workers do not know.
"""

import sqlalchemy as sa
from alembic import op

from schemas.catalog.migrations.online import (
    add_constraint,
    add_unvalidated_constraint,
    build_index,
    execute_with_lock_timeout,
    has_column,
    has_constraint,
)

revision = "{NEXT}"
down_revision = "{NEWEST}"
branch_labels = None
depends_on = None

BATCH = 20_000
"""Classifications whose rows are changed in one transaction."""

# Workers of the release before do not write `percent`: the trigger fills it for them.
EXPAND = """
alter table track_genre add column percent smallint;
create function fill_percent() returns trigger
language plpgsql set search_path = public, pg_temp as $$
begin
    new.percent := round(new.score * 100);
    return new;
end $$;
create trigger fill_percent before insert or update on track_genre
for each row when (new.percent is null) execute function fill_percent();
"""

# Rows that a worker holds are left for the next round: waiting for them could deadlock.
FILL = """
with batch as (
    select classification_id, genre_id from track_genre
    where classification_id >= :first and classification_id < :first + :batch and percent is null
    for update skip locked
)
update track_genre l set percent = round(l.score * 100) from batch b
where l.classification_id = b.classification_id and l.genre_id = b.genre_id
"""

# PostgreSQL does not read the table for `set not null` where a valid check implies it.
CONTRACT = """
alter table track_genre alter column percent set not null;
alter table track_genre drop constraint track_genre_filled_check
"""

# A column of a view cannot change its type. After the migration the view is created again.
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
drop trigger fill_percent on track_genre;
drop function fill_percent();
alter table track_genre drop column percent
"""

OLD_LYRICS = "check (lyrics in ('used', 'absent', 'instrumental', 'too_short', 'unsupported_language'))"
NEW_LYRICS = (
    "check (lyrics in ('used', 'absent', 'instrumental', 'too_short', 'unsupported_language', 'translated'))"
)
NEW_CHECK = "classification_lyrics_new_check"
"""Replaces the old constraint when it holds for every row."""

FORGET_TRANSLATED = """
with batch as (
    select id from classification where lyrics = 'translated' limit :batch for update skip locked
)
update classification c set lyrics = 'absent' from batch where c.id = batch.id
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if not has_column("track_genre", "percent"):
            execute_with_lock_timeout(EXPAND)
        _fill()
        add_constraint("track_genre", "track_genre_filled_check", "check (percent is not null)")
        execute_with_lock_timeout(CONTRACT)
        build_index("track_title_idx", "track (title)")
        _drop_new_check()
        add_constraint("classification", NEW_CHECK, NEW_LYRICS)
        _replace_check()
        execute_with_lock_timeout(NUMERIC_WAIT)


def downgrade() -> None:
    """Older releases cannot replace the views: leave none."""
    with op.get_context().autocommit_block():
        execute_with_lock_timeout("drop schema if exists analytics cascade")
        op.execute("drop index concurrently if exists track_title_idx")
        _drop_new_check()
        # From here on workers of the newer release cannot commit the value: no new row has it.
        add_unvalidated_constraint("classification", NEW_CHECK, OLD_LYRICS)
        while op.get_bind().scalar(
            sa.text("select exists (select from classification where lyrics = 'translated')")
        ):
            op.get_bind().execute(sa.text(FORGET_TRANSLATED), {"batch": BATCH})
        add_constraint("classification", NEW_CHECK, OLD_LYRICS)
        _replace_check()
        if has_column("track_genre", "percent"):
            execute_with_lock_timeout(SHRINK)


def _fill() -> None:
    """Fill `percent` in batches until no row is left."""
    connection = op.get_bind()
    while True:
        first, last = connection.execute(
            sa.text(
                "select min(classification_id), max(classification_id) from track_genre where percent is null"
            )
        ).one()
        if first is None:
            return
        for start in range(first, last + 1, BATCH):
            connection.execute(sa.text(FILL), {"first": start, "batch": BATCH})


def _drop_new_check() -> None:
    """Drop what an interrupted run in the other direction may have left."""
    if has_constraint("classification", NEW_CHECK):
        execute_with_lock_timeout(f"alter table classification drop constraint {NEW_CHECK}")


def _replace_check() -> None:
    execute_with_lock_timeout(
        "alter table classification drop constraint classification_lyrics_check; "
        f"alter table classification rename constraint {NEW_CHECK} to classification_lyrics_check"
    )
