"""The first catalog.

Creates every table, index, constraint and comment of `schemas/catalog/tables.py`, and the triggers that keep
`track_genre.current` in step with `track_current`. The rules for the next revision are in
`schemas/catalog/migrations/online.py`.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FOLLOW_TRACK_CURRENT = """
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
"""


def upgrade() -> None:
    op.create_table(
        "genre",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=True), nullable=False, comment="Primary key."),
        sa.Column("slug", sa.Text(), nullable=False, comment="Stable name of the genre, such as hip-hop."),
        sa.Column("name", sa.Text(), nullable=False, comment="Display name, such as Hip-Hop."),
        sa.Column(
            "parent_id",
            sa.SmallInteger(),
            nullable=True,
            comment="Parent genre; null = none. A track that has this genre also has its parent.",
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["genre.id"], name=op.f("genre_parent_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("genre_pkey")),
        sa.UniqueConstraint("id", "slug", name=op.f("genre_id_slug_key")),
        sa.UniqueConstraint("slug", name=op.f("genre_slug_key")),
        comment="Genres of all registered models.",
    )
    op.create_table(
        "ingest_failure",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Primary key."),
        sa.Column(
            "track_id",
            sa.Text(),
            nullable=True,
            comment="The platform's id of the track; null = the message has none.",
        ),
        sa.Column(
            "stage",
            sa.Text(),
            nullable=False,
            comment="Stage that failed: validate, fetch, decode, tokenise, infer, commit or reconcile.",
        ),
        sa.Column(
            "error_class", sa.Text(), nullable=False, comment="Name of the error, such as CorruptAudio."
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Message of the error, one line."),
        sa.Column("payload", sa.Text(), nullable=False, comment="The message as received, JSON."),
        sa.Column(
            "enqueued_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the job was enqueued; null = the message is not a valid job.",
        ),
        sa.Column(
            "failed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the job failed.",
        ),
        sa.Column(
            "resolved_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a later result or failure of the track was committed; null = open.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ingest_failure_pkey")),
        comment="Failed jobs, each with its message, so that it can be replayed.",
    )
    op.create_index(
        "ingest_failure_open_idx",
        "ingest_failure",
        ["track_id"],
        unique=False,
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=True), nullable=False, comment="Primary key."),
        sa.Column("name", sa.Text(), nullable=False, comment="As in the bundle's manifest."),
        sa.Column("version", sa.Text(), nullable=False, comment="As in the bundle's manifest."),
        sa.Column(
            "rank",
            sa.Integer(),
            nullable=False,
            comment="Order of the models, highest = newest: its labels replace those of a lower rank.",
        ),
        sa.Column(
            "artefact_sha256", sa.Text(), nullable=False, comment="SHA-256 of the bundle's manifest, in hex."
        ),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="shadow = classifies, labels not shown; current = labels shown; retired = no longer "
            "used.",
        ),
        sa.Column(
            "genre_ids",
            sa.ARRAY(sa.SmallInteger()),
            nullable=False,
            comment="Keys of the genres, in the order of classification.scores.",
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the model was registered.",
        ),
        sa.Column(
            "promoted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the model last became current; null = never.",
        ),
        sa.Column(
            "served_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a worker last had the model loaded, updated every 30 seconds; null = never.",
        ),
        sa.Column(
            "genre_names",
            sa.ARRAY(sa.Text()),
            nullable=True,
            comment="Display names of genre_ids, shown once the model is current; null = not recorded.",
        ),
        sa.Column(
            "genre_parents",
            sa.ARRAY(sa.SmallInteger()),
            nullable=True,
            comment="Keys of the parents of genre_ids, used once the model is current; null = not recorded.",
        ),
        sa.CheckConstraint("status in ('shadow', 'current', 'retired')", name=op.f("model_status_check")),
        sa.CheckConstraint("rank > 0", name=op.f("model_rank_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("model_pkey")),
        sa.UniqueConstraint("name", "version", name=op.f("model_name_version_key")),
        sa.UniqueConstraint("rank", name=op.f("model_rank_key")),
        comment="Models that have labelled or may label tracks.",
    )
    op.create_index(
        "model_one_current_idx",
        "model",
        ["status"],
        unique=True,
        postgresql_where=sa.text("status = 'current'"),
    )
    op.create_table(
        "track",
        sa.Column("id", sa.Text(), nullable=False, comment="The platform's id of the track."),
        sa.Column("title", sa.Text(), nullable=True, comment="From the job; null = not given."),
        sa.Column("artist", sa.Text(), nullable=True, comment="From the job; null = not given."),
        sa.Column("album", sa.Text(), nullable=True, comment="From the job; null = not given."),
        sa.Column(
            "isrc",
            sa.Text(),
            nullable=True,
            comment="International Standard Recording Code; null = not given.",
        ),
        sa.Column(
            "language",
            sa.Text(),
            nullable=True,
            comment="BCP 47 tag of the lyrics' language; null = unknown.",
        ),
        sa.Column(
            "job",
            postgresql.JSONB(),
            nullable=False,
            comment="The newest job of the track, which the reconciler enqueues again.",
        ),
        sa.Column(
            "enqueued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the newest job was enqueued.",
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the track was registered.",
        ),
        sa.Column(
            "attempts",
            sa.SmallInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Unfinished attempts since the last finished job: worker died, S3 or catalog "
            "unavailable.",
        ),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the reconciler enqueues the job again if it is not finished; null = finished.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("track_pkey")),
        comment="Tracks that a producer registered or a worker received.",
    )
    op.create_index(
        "track_artist_idx", "track", ["artist"], unique=False, postgresql_where=sa.text("artist is not null")
    )
    op.create_index(
        "track_due_idx", "track", ["due_at"], unique=False, postgresql_where=sa.text("due_at is not null")
    )
    op.create_index(
        "track_isrc_idx", "track", ["isrc"], unique=False, postgresql_where=sa.text("isrc is not null")
    )
    op.create_index(op.f("track_registered_at_idx"), "track", ["registered_at"], unique=False)
    op.create_table(
        "classification",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Primary key."),
        sa.Column("track_id", sa.Text(), nullable=False, comment="The track."),
        sa.Column("model_id", sa.SmallInteger(), nullable=False, comment="The model."),
        sa.Column(
            "input_hash",
            sa.LargeBinary(),
            nullable=False,
            comment="SHA-256 of the pipeline's version and of the audio's and lyrics' identities.",
        ),
        sa.Column(
            "scores",
            sa.ARRAY(sa.REAL()),
            nullable=False,
            comment="Probability of every genre, 0 to 1, in the order of model.genre_ids.",
        ),
        sa.Column(
            "embedding",
            sa.ARRAY(sa.REAL()),
            nullable=False,
            comment="Embedding: the fused vector, mean over windows, for similarity search.",
        ),
        sa.Column(
            "provider", sa.Text(), nullable=False, comment="Execution provider: cpu, cuda or tensorrt."
        ),
        sa.Column(
            "precision", sa.Text(), nullable=False, comment="Precision of the graph: fp32, fp16 or int8."
        ),
        sa.Column("track_seconds", sa.REAL(), nullable=False, comment="Duration of the track, in seconds."),
        sa.Column(
            "analysed_seconds",
            sa.REAL(),
            nullable=False,
            comment="Duration of the analysed windows, in seconds.",
        ),
        sa.Column(
            "lyrics",
            sa.Text(),
            nullable=False,
            comment="used, or the reason why not: absent (none delivered), instrumental, too_short (too few "
            "words), unsupported_language (a language that the model does not support).",
        ),
        sa.Column(
            "timings",
            postgresql.JSONB(),
            nullable=False,
            comment="Milliseconds per stage; wait = from the publication of the job until its labels "
            "were ready to commit.",
        ),
        sa.Column(
            "enqueued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the newest job with this input was enqueued.",
        ),
        sa.Column(
            "classified_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the result was committed.",
        ),
        sa.CheckConstraint(
            "lyrics in ('used', 'absent', 'instrumental', 'too_short', 'unsupported_language')",
            name=op.f("classification_lyrics_check"),
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("classification_model_id_fkey")),
        sa.ForeignKeyConstraint(["track_id"], ["track.id"], name=op.f("classification_track_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("classification_pkey")),
        sa.UniqueConstraint(
            "track_id", "model_id", "input_hash", name=op.f("classification_track_id_model_id_input_hash_key")
        ),
        comment="Results: one model on one input of one track.",
    )
    op.create_index(
        "classification_hour_idx",
        "classification",
        [
            sa.literal_column(
                "date_bin('01:00:00'::interval, classified_at, '2000-01-01 00:00:00+00'::timestamptz)"
            )
        ],
        unique=False,
    )
    op.create_index("classification_input_idx", "classification", ["input_hash", "model_id"], unique=False)
    op.create_table(
        "feedback",
        sa.Column("track_id", sa.Text(), nullable=False, comment="The track."),
        sa.Column("genre_id", sa.SmallInteger(), nullable=False, comment="The genre."),
        sa.Column(
            "given_by",
            sa.Text(),
            nullable=False,
            comment="Who gave the feedback. A person's later feedback on the same label replaces the "
            "earlier.",
        ),
        sa.Column(
            "is_correct",
            sa.Boolean(),
            nullable=False,
            comment="Whether the person says that the track has the genre.",
        ),
        sa.Column(
            "given_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the feedback was given.",
        ),
        sa.ForeignKeyConstraint(["genre_id"], ["genre.id"], name=op.f("feedback_genre_id_fkey")),
        sa.ForeignKeyConstraint(["track_id"], ["track.id"], name=op.f("feedback_track_id_fkey")),
        sa.PrimaryKeyConstraint("track_id", "genre_id", "given_by", name=op.f("feedback_pkey")),
        comment="Feedback of people on labels. Models never change it.",
    )
    op.create_index(op.f("feedback_genre_id_idx"), "feedback", ["genre_id"], unique=False)
    op.create_index(op.f("feedback_given_at_idx"), "feedback", ["given_at"], unique=False)
    op.create_table(
        "genre_correlation",
        sa.Column("model_id", sa.SmallInteger(), nullable=False, comment="The model."),
        sa.Column("genre_a", sa.SmallInteger(), nullable=False, comment="Given genre i of A[i, j]."),
        sa.Column("genre_b", sa.SmallInteger(), nullable=False, comment="Predicted genre j of A[i, j]."),
        sa.Column(
            "weight",
            sa.REAL(),
            nullable=False,
            comment="A[i, j], i = genre_a, j = genre_b: -0.5 to 1, not a probability.",
        ),
        sa.ForeignKeyConstraint(["genre_a"], ["genre.id"], name=op.f("genre_correlation_genre_a_fkey")),
        sa.ForeignKeyConstraint(["genre_b"], ["genre.id"], name=op.f("genre_correlation_genre_b_fkey")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("genre_correlation_model_id_fkey")),
        sa.PrimaryKeyConstraint("model_id", "genre_a", "genre_b", name=op.f("genre_correlation_pkey")),
        comment="Learned correlation of genres, by model: the off-diagonal elements of A.",
    )
    op.create_table(
        "model_threshold",
        sa.Column("model_id", sa.SmallInteger(), nullable=False, comment="The model."),
        sa.Column("genre_id", sa.SmallInteger(), nullable=False, comment="The genre."),
        sa.Column("threshold", sa.REAL(), nullable=False, comment="Probability, 0 to 1."),
        sa.CheckConstraint("threshold between 0 and 1", name=op.f("model_threshold_threshold_check")),
        sa.ForeignKeyConstraint(["genre_id"], ["genre.id"], name=op.f("model_threshold_genre_id_fkey")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("model_threshold_model_id_fkey")),
        sa.PrimaryKeyConstraint("model_id", "genre_id", name=op.f("model_threshold_pkey")),
        comment="The score at and above which a model's genre is accepted.",
    )
    op.create_table(
        "track_current",
        sa.Column("track_id", sa.Text(), nullable=False, comment="The track."),
        sa.Column(
            "classification_id", sa.BigInteger(), nullable=False, comment="The classification that is shown."
        ),
        sa.Column("rank", sa.Integer(), nullable=False, comment="Rank of the model when the pointer moved."),
        sa.Column(
            "enqueued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the job was enqueued; at equal rank the newer job is shown.",
        ),
        sa.ForeignKeyConstraint(
            ["classification_id"], ["classification.id"], name=op.f("track_current_classification_id_fkey")
        ),
        sa.ForeignKeyConstraint(["track_id"], ["track.id"], name=op.f("track_current_track_id_fkey")),
        sa.PrimaryKeyConstraint("track_id", name=op.f("track_current_pkey")),
        sa.UniqueConstraint("classification_id", name=op.f("track_current_classification_id_key")),
        comment="The classification of each track that analysts see.",
    )
    op.create_table(
        "track_genre",
        sa.Column("classification_id", sa.BigInteger(), nullable=False, comment="The classification."),
        sa.Column("genre_id", sa.SmallInteger(), nullable=False, comment="The genre."),
        sa.Column(
            "score",
            sa.REAL(),
            nullable=False,
            comment="Probability, 0 to 1; a parent's is at least that of its accepted children.",
        ),
        sa.Column(
            "genre", sa.Text(), nullable=False, comment="Slug of the genre, repeated here for the index."
        ),
        sa.Column(
            "current",
            sa.Boolean(),
            nullable=False,
            comment="Whether track_current points at the classification.",
        ),
        sa.CheckConstraint("score between 0 and 1", name=op.f("track_genre_score_check")),
        sa.ForeignKeyConstraint(
            ["classification_id"],
            ["classification.id"],
            name=op.f("track_genre_classification_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["genre_id", "genre"], ["genre.id", "genre.slug"], name=op.f("track_genre_genre_id_fkey")
        ),
        sa.PrimaryKeyConstraint("classification_id", "genre_id", name=op.f("track_genre_pkey")),
        comment="The accepted labels of a classification, parents included.",
    )
    op.create_index(
        "track_genre_current_idx",
        "track_genre",
        ["genre", sa.literal_column("score desc"), "classification_id"],
        unique=False,
        postgresql_where=sa.text("current"),
    )
    op.execute(FOLLOW_TRACK_CURRENT)
    # Index-only scans need a fresh visibility map; with the default vacuum waits for a fifth of the table.
    op.execute("alter table track_genre set (autovacuum_vacuum_insert_scale_factor = 0.02)")


def downgrade() -> None:
    """Drop every table, and the views that read them."""
    op.execute("drop schema if exists analytics cascade")
    op.drop_table("track_genre")
    op.drop_table("track_current")
    op.drop_table("model_threshold")
    op.drop_table("genre_correlation")
    op.drop_table("feedback")
    op.drop_table("classification")
    op.drop_table("track")
    op.drop_table("model")
    op.drop_table("ingest_failure")
    op.drop_table("genre")
    op.execute("drop function follow_track_current()")
