"""Labels to query: flags and an index for what is shown, feedback, constraints, a comment on every column

Workers of the revision before go on writing all the while, and after it. Each step takes its lock for a
moment; rows are filled in batches; indexes are built concurrently. An interrupted run is taken up again.
"""

import sqlalchemy as sa
from alembic import op

from schemas.catalog.migrations.online import add_checked, at_once, build_index, has_column
from schemas.catalog.tables import CLASSIFIED_HOUR

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BATCH = 20_000
"""Classifications whose labels are filled in one transaction."""

EXPAND = """
alter table genre add constraint genre_id_slug_key unique (id, slug);
alter table track_genre add column genre text, add column current boolean;
-- Index-only scans need a fresh visibility map; the defaults wait for a fifth of the table.
alter table track_genre set (autovacuum_vacuum_insert_scale_factor = 0.02);

create table feedback (
    track_id text not null constraint feedback_track_id_fkey references track (id),
    genre_id smallint not null constraint feedback_genre_id_fkey references genre (id),
    given_by text not null,
    is_right boolean not null,
    given_at timestamptz not null default now(),
    constraint feedback_pkey primary key (track_id, genre_id, given_by)
);
create index feedback_genre_id_idx on feedback (genre_id);
create index feedback_given_at_idx on feedback (given_at);

create function follow_track_current() returns trigger
language plpgsql set search_path = public, pg_temp as $$
begin
    if tg_op = 'UPDATE' then
        update track_genre set current = false
        where current is distinct from false and classification_id in (
            select classification_id from old_rows except select classification_id from new_rows
        );
    elsif tg_op = 'DELETE' then
        update track_genre set current = false
        where current is distinct from false
          and classification_id in (select classification_id from old_rows);
        return null;
    end if;
    update track_genre set current = true
    where current is distinct from true and classification_id in (select classification_id from new_rows);
    return null;
end $$;
comment on function follow_track_current() is 'Keeps track_genre.current in step with track_current.';
create trigger follow_insert after insert on track_current referencing new table as new_rows
for each statement execute function follow_track_current();
create trigger follow_update after update on track_current
referencing old table as old_rows new table as new_rows
for each statement execute function follow_track_current();
create trigger follow_delete after delete on track_current referencing old table as old_rows
for each statement execute function follow_track_current();

create function complete_track_genre() returns trigger
language plpgsql set search_path = public, pg_temp as $$
begin
    new.genre := (select slug from genre where id = new.genre_id);
    new.current := exists (select from track_current where classification_id = new.classification_id);
    return new;
end $$;
comment on function complete_track_genre() is
    'Fills in what workers of the first release leave out. Goes when none of them is left.';
create trigger complete before insert on track_genre
for each row when (new.genre is null or new.current is null) execute function complete_track_genre();
"""

# A row that a writer has moved meanwhile keeps what the writer's trigger said. Rows that one holds are
# left for the next round: waiting for them could deadlock.
FILL = """
with batch as (
    select classification_id, genre_id from track_genre
    where classification_id >= :first and classification_id < :first + :batch and genre is null
    for update skip locked
)
update track_genre l
set genre = g.slug,
    current = coalesce(
        l.current, exists (select from track_current t where t.classification_id = l.classification_id)
    )
from batch b join genre g on g.id = b.genre_id
where l.classification_id = b.classification_id and l.genre_id = b.genre_id
"""

CONTRACT = """
alter table track_genre alter column genre set not null, alter column current set not null;
alter table track_genre drop constraint track_genre_filled_check;
alter table track_genre drop constraint track_genre_genre_id_fkey;
alter table track_genre rename constraint track_genre_genre_fkey to track_genre_genre_id_fkey;
"""

SHRINK = """
drop schema if exists analytics cascade;
drop trigger follow_insert on track_current;
drop trigger follow_update on track_current;
drop trigger follow_delete on track_current;
drop function follow_track_current();
drop trigger complete on track_genre;
drop function complete_track_genre();
drop table feedback;
alter table track_genre drop constraint track_genre_genre_id_fkey;
alter table track_genre
    drop constraint track_genre_score_check, drop column genre, drop column current,
    reset (autovacuum_vacuum_insert_scale_factor),
    add constraint track_genre_genre_id_fkey foreign key (genre_id) references genre (id) not valid;
alter table genre drop constraint genre_id_slug_key;
alter table model drop constraint model_rank_check;
alter table model_threshold drop constraint model_threshold_threshold_check;
"""

COMMENTS = {
    "genre.id": "The catalog's own key.",
    "model.id": "The catalog's own key.",
    "model.name": "As in the bundle's manifest.",
    "model.version": "As in the bundle's manifest.",
    "model.registered_at": "When the catalog first heard of the model.",
    "model_threshold.model_id": "The model.",
    "model_threshold.genre_id": "The genre.",
    "genre_correlation.model_id": "The model.",
    "genre_correlation.genre_a": "The speaker.",
    "genre_correlation.genre_b": "Spoken for.",
    "track.title": "As the producer gave it; null = not given.",
    "track.artist": "As the producer gave it; null = not given.",
    "track.album": "As the producer gave it; null = not given.",
    "classification.id": "The catalog's own key.",
    "classification.track_id": "The track.",
    "classification.model_id": "The model that said it.",
    "classification.classified_at": "When the result was committed.",
    "track_genre.classification_id": "The classification.",
    "track_genre.genre_id": "The genre.",
    "track_genre.genre": "The genre's slug, so that an index can be by it.",
    "track_genre.current": "Whether track_current points at the classification.",
    "track_current.track_id": "The track.",
    "track_current.classification_id": "What is shown of it.",
    "track_current.rank": "The model's rank when the pointer moved.",
    "ingest_failure.id": "The catalog's own key.",
    "ingest_failure.failed_at": "When the job ended.",
    "feedback.track_id": "The track.",
    "feedback.genre_id": "The genre.",
    "feedback.given_by": "Who said it. Of one person the last word counts.",
    "feedback.is_right": "Whether the track has the genre.",
    "feedback.given_at": "When it was said.",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if not has_column("track_genre", "current"):
            at_once(EXPAND)
        _fill()
        build_index(
            "track_genre_current_idx", "track_genre (genre, score desc, classification_id) where current"
        )
        build_index("classification_hour_idx", f"classification (({CLASSIFIED_HOUR}))")
        build_index("track_registered_at_idx", "track (registered_at)")
        op.execute("drop index concurrently if exists track_genre_genre_id_score_idx")
        add_checked("track_genre", "track_genre_score_check", "check (score between 0 and 1)")
        add_checked("model", "model_rank_check", "check (rank > 0)")
        add_checked("model_threshold", "model_threshold_threshold_check", "check (threshold between 0 and 1)")
        # With a valid check in place `set not null` need not read the table.
        add_checked(
            "track_genre",
            "track_genre_filled_check",
            "check (genre is not null and current is not null)",
        )
        add_checked(
            "track_genre",
            "track_genre_genre_fkey",
            "foreign key (genre_id, genre) references genre (id, slug)",
        )
        at_once(CONTRACT)
    op.execute("comment on table feedback is 'What people said of a label, apart from what models said.'")
    for column, comment in COMMENTS.items():
        op.execute(sa.text(f"comment on column {column} is '{comment.replace(chr(39), chr(39) * 2)}'"))


def _fill() -> None:
    """Round after round, until no label is left."""
    connection = op.get_bind()
    while True:
        first, last = connection.execute(
            sa.text(
                "select min(classification_id), max(classification_id) from track_genre where genre is null"
            )
        ).one()
        if first is None:
            return
        for start in range(first, last + 1, BATCH):
            connection.execute(sa.text(FILL), {"first": start, "batch": BATCH})


def downgrade() -> None:
    """Leaves no views: the older release's `cogenre catalog migrate` makes its own."""
    with op.get_context().autocommit_block():
        build_index("track_genre_genre_id_score_idx", "track_genre (genre_id, score)")
        if has_column("track_genre", "current"):
            at_once(SHRINK)
        op.execute("alter table track_genre validate constraint track_genre_genre_id_fkey")
        op.execute("drop index concurrently if exists classification_hour_idx")
        op.execute("drop index concurrently if exists track_registered_at_idx")
