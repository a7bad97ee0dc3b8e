"""The catalog's tables. Every comment here is also a comment in the database.

```
genre ◄── model_threshold, genre_correlation ──► model
  ▲                                                ▲
track_genre ──► classification ──► track ◄── track_current ──► classification
                                     ▲       ingest_failure (names a track, even an unregistered one)
                                  feedback
```

A classification is immutable in meaning: it is keyed by what went in (`input_hash`) and by the model, so
that a new model or a new master of a recording adds a row and never overwrites. `track_current` points at
the one that analysts see; it follows the higher (`model.rank`, `enqueued_at`) and so never moves backwards.
`track_genre.current` repeats what the pointer says, label by label, and `track_genre.genre` the slug: that
way one partial index answers "the surest jazz" without a join. Triggers keep `current` in step.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Timestamp = DateTime(timezone=True)

CLASSIFIED_HOUR = "date_bin('01:00:00'::interval, classified_at, '2000-01-01 00:00:00+00'::timestamptz)"
"""Full hour of a classification. Indexed, and so written alike wherever labels are counted by the hour."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        }
    )


class Genre(Base):
    """Genres of every model ever registered."""

    __tablename__ = "genre"
    __table_args__ = (
        UniqueConstraint("id", "slug"),
        {"comment": "Genres of every model ever registered."},
    )

    id: Mapped[int] = mapped_column(
        SmallInteger, Identity(always=True), primary_key=True, comment="The catalog's own key."
    )
    slug: Mapped[str] = mapped_column(Text, unique=True, comment="Stable key, such as hip-hop.")
    name: Mapped[str] = mapped_column(Text, comment="Display name, such as Hip-Hop.")
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("genre.id"), comment="A track that has this genre also has its parent."
    )


class Model(Base):
    """Models that have labelled or may label tracks."""

    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        CheckConstraint("status in ('shadow', 'current', 'retired')", name="status"),
        CheckConstraint("rank > 0", name="rank"),
        Index(
            "model_one_current_idx",
            "status",
            unique=True,
            postgresql_where=text("status = 'current'"),
        ),
        {"comment": "Models that have labelled or may label tracks."},
    )

    id: Mapped[int] = mapped_column(
        SmallInteger, Identity(always=True), primary_key=True, comment="The catalog's own key."
    )
    name: Mapped[str] = mapped_column(Text, comment="As in the bundle's manifest.")
    version: Mapped[str] = mapped_column(Text, comment="As in the bundle's manifest.")
    rank: Mapped[int] = mapped_column(
        Integer, unique=True, comment="A higher rank is a newer model: its labels replace those of a lower."
    )
    artefact_sha256: Mapped[str] = mapped_column(Text, comment="SHA-256 of the bundle's manifest, in hex.")
    status: Mapped[str] = mapped_column(
        Text, comment="shadow = classifies, not shown; current = shown; retired = no longer used."
    )
    genre_ids: Mapped[list[int]] = mapped_column(
        ARRAY(SmallInteger), comment="Genres in the order of classification.scores."
    )
    registered_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the catalog first heard of the model."
    )
    promoted_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When it became the current model; null = never, or before it was noted."
    )
    served_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When a worker last had it loaded, to the minute; null = never."
    )
    genre_names: Mapped[list[str] | None] = mapped_column(
        ARRAY(Text), comment="Display names of genre_ids, shown from its promotion on; null = not noted."
    )
    genre_parents: Mapped[list[int | None] | None] = mapped_column(
        ARRAY(SmallInteger), comment="Parents of genre_ids, shown from its promotion on; null = not noted."
    )


class ModelThreshold(Base):
    """The score at and above which a model's genre is accepted."""

    __tablename__ = "model_threshold"
    __table_args__ = (
        CheckConstraint("threshold between 0 and 1", name="threshold"),
        {"comment": "The score at and above which a model's genre is accepted."},
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True, comment="The model.")
    genre_id: Mapped[int] = mapped_column(ForeignKey("genre.id"), primary_key=True, comment="The genre.")
    threshold: Mapped[float] = mapped_column(REAL, comment="Probability, 0 to 1.")


class GenreCorrelation(Base):
    """What a model believes of genres that go together: its graph's A = ½(A¹ + A²)."""

    __tablename__ = "genre_correlation"
    __table_args__ = ({"comment": "What a model believes of genres that go together: its graph's A."},)

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True, comment="The model.")
    genre_a: Mapped[int] = mapped_column(ForeignKey("genre.id"), primary_key=True, comment="The speaker.")
    genre_b: Mapped[int] = mapped_column(ForeignKey("genre.id"), primary_key=True, comment="Spoken for.")
    weight: Mapped[float] = mapped_column(REAL, comment="How much genre_a speaks for genre_b.")


class Track(Base):
    """Tracks that a producer registered or a worker received."""

    __tablename__ = "track"
    __table_args__ = (
        Index(None, "registered_at"),
        Index("track_due_idx", "due_at", postgresql_where=text("due_at is not null")),
        Index("track_isrc_idx", "isrc", postgresql_where=text("isrc is not null")),
        Index("track_artist_idx", "artist", postgresql_where=text("artist is not null")),
        {"comment": "Tracks that a producer registered or a worker received."},
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True, comment="The platform's own id.")
    title: Mapped[str | None] = mapped_column(Text, comment="As the producer gave it; null = not given.")
    artist: Mapped[str | None] = mapped_column(Text, comment="As the producer gave it; null = not given.")
    album: Mapped[str | None] = mapped_column(Text, comment="As the producer gave it; null = not given.")
    isrc: Mapped[str | None] = mapped_column(Text, comment="International Standard Recording Code.")
    language: Mapped[str | None] = mapped_column(Text, comment="BCP 47 tag of the lyrics' language.")
    job: Mapped[Any] = mapped_column(JSONB, comment="The newest job for this track: what to enqueue again.")
    enqueued_at: Mapped[datetime] = mapped_column(Timestamp, comment="When that job was enqueued.")
    registered_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the catalog first heard of the track."
    )
    attempts: Mapped[int] = mapped_column(
        SmallInteger,
        server_default=text("0"),
        comment="Failed attempts since the last job of the track ended: worker died, S3 or catalog away.",
    )
    due_at: Mapped[datetime | None] = mapped_column(
        Timestamp,
        comment="If it has not come to an end by then, the reconciler enqueues it again; null = it has.",
    )


class Classification(Base):
    """What one model said of one input of one track."""

    __tablename__ = "classification"
    __table_args__ = (
        UniqueConstraint("track_id", "model_id", "input_hash"),
        CheckConstraint("lyrics in ('used', 'absent', 'instrumental', 'short', 'foreign')", name="lyrics"),
        Index("classification_hour_idx", text(CLASSIFIED_HOUR)),
        Index("classification_input_idx", "input_hash", "model_id"),
        {"comment": "What one model said of one input of one track."},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="The catalog's own key."
    )
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), comment="The track.")
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="The model that said it.")
    input_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of the pipeline's version and of the audio's and lyrics' identities."
    )
    scores: Mapped[list[float]] = mapped_column(
        ARRAY(REAL), comment="Probability of every genre, in the order of model.genre_ids."
    )
    embedding: Mapped[list[float]] = mapped_column(
        ARRAY(REAL), comment="The fused vector, mean over windows, for similarity search."
    )
    provider: Mapped[str] = mapped_column(Text, comment="Where it ran: cpu, cuda or tensorrt.")
    precision: Mapped[str] = mapped_column(Text, comment="fp32, fp16 or int8.")
    track_seconds: Mapped[float] = mapped_column(REAL, comment="How long the track lasts, in seconds.")
    heard_seconds: Mapped[float] = mapped_column(REAL, comment="How much of it the model heard, in seconds.")
    lyrics: Mapped[str] = mapped_column(
        Text,
        comment="used; or why not: absent (none delivered), instrumental, short (too few words), "
        "foreign (a language that the model does not know).",
    )
    timings: Mapped[Any] = mapped_column(
        JSONB,
        comment="Milliseconds a stage; wait: from the job being published until its labels were ready to "
        "commit.",
    )
    enqueued_at: Mapped[datetime] = mapped_column(
        Timestamp, comment="When the newest job with this input was enqueued."
    )
    classified_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the result was committed."
    )


class TrackGenre(Base):
    """The accepted labels of a classification."""

    __tablename__ = "track_genre"
    __table_args__ = (
        ForeignKeyConstraint(["genre_id", "genre"], ["genre.id", "genre.slug"]),
        CheckConstraint("score between 0 and 1", name="score"),
        Index(
            "track_genre_current_idx",
            "genre",
            text("score desc"),
            "classification_id",
            postgresql_where=text("current"),
        ),
        {"comment": "The accepted labels of a classification, parents included."},
    )

    classification_id: Mapped[int] = mapped_column(
        ForeignKey("classification.id", ondelete="CASCADE"), primary_key=True, comment="The classification."
    )
    genre_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, comment="The genre.")
    score: Mapped[float] = mapped_column(
        REAL, comment="Probability, 0 to 1; a parent's is at least that of its accepted children."
    )
    genre: Mapped[str] = mapped_column(Text, comment="The genre's slug, so that an index can be by it.")
    current: Mapped[bool] = mapped_column(
        Boolean, comment="Whether track_current points at the classification."
    )


class TrackCurrent(Base):
    """The classification of each track that analysts see."""

    __tablename__ = "track_current"
    __table_args__ = ({"comment": "The classification of each track that analysts see."},)

    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True, comment="The track.")
    classification_id: Mapped[int] = mapped_column(
        ForeignKey("classification.id"), unique=True, comment="What is shown of it."
    )
    rank: Mapped[int] = mapped_column(Integer, comment="The model's rank when the pointer moved.")
    enqueued_at: Mapped[datetime] = mapped_column(
        Timestamp, comment="The job's; the newer wins at equal rank."
    )


class Feedback(Base):
    """What people said of a label. Kept apart from what models said, and never overwritten by it."""

    __tablename__ = "feedback"
    __table_args__ = (
        Index(None, "genre_id"),
        Index(None, "given_at"),
        {"comment": "What people said of a label, apart from what models said."},
    )

    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True, comment="The track.")
    genre_id: Mapped[int] = mapped_column(ForeignKey("genre.id"), primary_key=True, comment="The genre.")
    given_by: Mapped[str] = mapped_column(
        Text, primary_key=True, comment="Who said it. Of one person the last word counts."
    )
    is_right: Mapped[bool] = mapped_column(Boolean, comment="Whether the track has the genre.")
    given_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When it was said."
    )


class IngestFailure(Base):
    """Jobs that ended without labels, each with what is needed to replay it."""

    __tablename__ = "ingest_failure"
    __table_args__ = (
        Index("ingest_failure_open_idx", "track_id", postgresql_where=text("resolved_at is null")),
        {"comment": "Jobs that ended without labels, each with what is needed to replay it."},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="The catalog's own key."
    )
    track_id: Mapped[str | None] = mapped_column(Text, comment="Null where the job does not even say.")
    stage: Mapped[str] = mapped_column(
        Text, comment="Where it ended: validate, fetch, decode, tokenise, infer or commit."
    )
    error_class: Mapped[str] = mapped_column(Text, comment="The error's name, such as CorruptAudio.")
    reason: Mapped[str] = mapped_column(Text, comment="One line for whoever has to mend it.")
    payload: Mapped[str] = mapped_column(Text, comment="The job as it was received, JSON.")
    enqueued_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When the job was enqueued; null = the message was no job."
    )
    failed_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the job ended."
    )
    resolved_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When the track was labelled after all; null = still open."
    )
