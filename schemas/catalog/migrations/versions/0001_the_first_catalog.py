"""The first catalog"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "genre",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False, comment="Stable key, such as hip-hop."),
        sa.Column("name", sa.Text(), nullable=False, comment="Display name, such as Hip-Hop."),
        sa.Column(
            "parent_id",
            sa.SmallInteger(),
            nullable=True,
            comment="A track that has this genre also has its parent.",
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["genre.id"], name=op.f("genre_parent_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("genre_pkey")),
        sa.UniqueConstraint("slug", name=op.f("genre_slug_key")),
        comment="Genres of every model ever registered.",
    )
    op.create_table(
        "ingest_failure",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=True, comment="Null where the job does not even say."),
        sa.Column(
            "stage",
            sa.Text(),
            nullable=False,
            comment="Where it ended: validate, fetch, decode, tokenise, infer or commit.",
        ),
        sa.Column(
            "error_class", sa.Text(), nullable=False, comment="The error's name, such as CorruptAudio."
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="One line for whoever has to mend it."),
        sa.Column("payload", sa.Text(), nullable=False, comment="The job as it was received, JSON."),
        sa.Column("failed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "resolved_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the track was labelled after all; null = still open.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ingest_failure_pkey")),
        comment="Jobs that ended without labels, each with what is needed to replay it.",
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
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column(
            "rank",
            sa.Integer(),
            nullable=False,
            comment="A higher rank is a newer model: its labels replace those of a lower.",
        ),
        sa.Column(
            "artefact_sha256", sa.Text(), nullable=False, comment="SHA-256 of the bundle's manifest, in hex."
        ),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="shadow = classifies, not shown; current = shown; retired = no longer used.",
        ),
        sa.Column(
            "genre_ids",
            sa.ARRAY(sa.SmallInteger()),
            nullable=False,
            comment="Genres in the order of classification.scores.",
        ),
        sa.Column(
            "registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("status in ('shadow', 'current', 'retired')", name=op.f("model_status_check")),
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
        sa.Column("id", sa.Text(), nullable=False, comment="The platform's own id."),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("artist", sa.Text(), nullable=True),
        sa.Column("album", sa.Text(), nullable=True),
        sa.Column("isrc", sa.Text(), nullable=True, comment="International Standard Recording Code."),
        sa.Column("language", sa.Text(), nullable=True, comment="BCP 47 tag of the lyrics' language."),
        sa.Column(
            "job",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The newest job for this track: what to enqueue again.",
        ),
        sa.Column(
            "enqueued_at", sa.DateTime(timezone=True), nullable=False, comment="When that job was enqueued."
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the catalog first heard of the track.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("track_pkey")),
        comment="Tracks that a producer registered or a worker received.",
    )
    op.create_table(
        "classification",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
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
            comment="Probability of every genre, in the order of model.genre_ids.",
        ),
        sa.Column(
            "embedding",
            sa.ARRAY(sa.REAL()),
            nullable=False,
            comment="The fused vector, mean over windows, for similarity search.",
        ),
        sa.Column("provider", sa.Text(), nullable=False, comment="Where it ran: cpu, cuda or tensorrt."),
        sa.Column("precision", sa.Text(), nullable=False, comment="fp32, fp16 or int8."),
        sa.Column(
            "track_seconds", sa.REAL(), nullable=False, comment="How long the track lasts, in seconds."
        ),
        sa.Column(
            "heard_seconds", sa.REAL(), nullable=False, comment="How much of it the model heard, in seconds."
        ),
        sa.Column(
            "lyrics", sa.Text(), nullable=False, comment="used, absent (none delivered) or instrumental."
        ),
        sa.Column(
            "timings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Milliseconds a stage.",
        ),
        sa.Column(
            "enqueued_at", sa.DateTime(timezone=True), nullable=False, comment="When the job was enqueued."
        ),
        sa.Column(
            "classified_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "lyrics in ('used', 'absent', 'instrumental')", name=op.f("classification_lyrics_check")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("classification_model_id_fkey")),
        sa.ForeignKeyConstraint(["track_id"], ["track.id"], name=op.f("classification_track_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("classification_pkey")),
        sa.UniqueConstraint(
            "track_id", "model_id", "input_hash", name=op.f("classification_track_id_model_id_input_hash_key")
        ),
        comment="What one model said of one input of one track.",
    )
    op.create_table(
        "genre_correlation",
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("genre_a", sa.SmallInteger(), nullable=False),
        sa.Column("genre_b", sa.SmallInteger(), nullable=False),
        sa.Column("weight", sa.REAL(), nullable=False, comment="How much genre_a speaks for genre_b."),
        sa.ForeignKeyConstraint(["genre_a"], ["genre.id"], name=op.f("genre_correlation_genre_a_fkey")),
        sa.ForeignKeyConstraint(["genre_b"], ["genre.id"], name=op.f("genre_correlation_genre_b_fkey")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("genre_correlation_model_id_fkey")),
        sa.PrimaryKeyConstraint("model_id", "genre_a", "genre_b", name=op.f("genre_correlation_pkey")),
        comment="What a model believes of genres that go together: its graph's A.",
    )
    op.create_table(
        "model_threshold",
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("genre_id", sa.SmallInteger(), nullable=False),
        sa.Column("threshold", sa.REAL(), nullable=False, comment="Probability, 0 to 1."),
        sa.ForeignKeyConstraint(["genre_id"], ["genre.id"], name=op.f("model_threshold_genre_id_fkey")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("model_threshold_model_id_fkey")),
        sa.PrimaryKeyConstraint("model_id", "genre_id", name=op.f("model_threshold_pkey")),
        comment="The score at and above which a model's genre is accepted.",
    )
    op.create_table(
        "track_current",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("classification_id", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False, comment="The model's rank."),
        sa.Column(
            "enqueued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="The job's; the newer wins at equal rank.",
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
        sa.Column("classification_id", sa.BigInteger(), nullable=False),
        sa.Column("genre_id", sa.SmallInteger(), nullable=False),
        sa.Column(
            "score",
            sa.REAL(),
            nullable=False,
            comment="Probability, 0 to 1; a parent's is at least that of its accepted children.",
        ),
        sa.ForeignKeyConstraint(
            ["classification_id"],
            ["classification.id"],
            name=op.f("track_genre_classification_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["genre_id"], ["genre.id"], name=op.f("track_genre_genre_id_fkey")),
        sa.PrimaryKeyConstraint("classification_id", "genre_id", name=op.f("track_genre_pkey")),
        comment="The accepted labels of a classification, parents included.",
    )
    op.create_index(
        op.f("track_genre_genre_id_score_idx"), "track_genre", ["genre_id", "score"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("track_genre_genre_id_score_idx"), table_name="track_genre")
    op.drop_table("track_genre")
    op.drop_table("track_current")
    op.drop_table("model_threshold")
    op.drop_table("genre_correlation")
    op.drop_table("classification")
    op.drop_table("track")
    op.drop_index("model_one_current_idx", table_name="model", postgresql_where=sa.text("status = 'current'"))
    op.drop_table("model")
    op.drop_index(
        "ingest_failure_open_idx",
        table_name="ingest_failure",
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.drop_table("ingest_failure")
    op.drop_table("genre")
