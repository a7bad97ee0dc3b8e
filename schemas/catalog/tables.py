"""The catalog's tables. Their comments are stored in the database and make docs/data-dictionary.md.

```
genre ◄── model_threshold, genre_correlation ──► model
  ▲                                                ▲
track_genre ──► classification ──► track ◄── track_current ──► classification
                                     ▲       ingest_failure (its track may be unregistered)
                                  feedback
```

A classification is keyed by the hash of its input (`input_hash`) and by the model: a new model, or a new
master of a recording, adds a row and never overwrites one. `track_current` points at the classification that
analysts see. It moves only to a higher (`model.rank`, `enqueued_at`), never to a lower one.
`track_genre.current` is true if `track_current` points at the label's classification, and `track_genre.genre`
repeats the slug of the genre. So one partial index finds, for example, the jazz labels with the highest
scores without a join. Triggers update `current` when the pointer moves.
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
"""SQL expression for the start of the hour of a classification. It is indexed, so queries by hour use this
text."""


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
    """Genres of all registered models."""

    __tablename__ = "genre"
    __table_args__ = (
        UniqueConstraint("id", "slug"),
        {"comment": "Genres of all registered models."},
    )

    id: Mapped[int] = mapped_column(
        SmallInteger, Identity(always=True), primary_key=True, comment="Primary key."
    )
    slug: Mapped[str] = mapped_column(Text, unique=True, comment="Stable name of the genre, such as hip-hop.")
    name: Mapped[str] = mapped_column(Text, comment="Display name, such as Hip-Hop.")
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("genre.id"),
        comment="Parent genre; null = none. A track that has this genre also has its parent.",
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
        SmallInteger, Identity(always=True), primary_key=True, comment="Primary key."
    )
    name: Mapped[str] = mapped_column(Text, comment="As in the bundle's manifest.")
    version: Mapped[str] = mapped_column(Text, comment="As in the bundle's manifest.")
    rank: Mapped[int] = mapped_column(
        Integer,
        unique=True,
        comment="Order of the models, highest = newest: its labels replace those of a lower rank.",
    )
    artefact_sha256: Mapped[str] = mapped_column(Text, comment="SHA-256 of the bundle's manifest, in hex.")
    status: Mapped[str] = mapped_column(
        Text,
        comment="shadow = classifies, labels not shown; current = labels shown; retired = no longer used.",
    )
    genre_ids: Mapped[list[int]] = mapped_column(
        ARRAY(SmallInteger), comment="Keys of the genres, in the order of classification.scores."
    )
    registered_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the model was registered."
    )
    promoted_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When the model last became current; null = never."
    )
    served_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When a worker last had the model loaded, updated every 30 seconds; null = never."
    )
    genre_names: Mapped[list[str] | None] = mapped_column(
        ARRAY(Text),
        comment="Display names of genre_ids, shown once the model is current; null = not recorded.",
    )
    genre_parents: Mapped[list[int | None] | None] = mapped_column(
        ARRAY(SmallInteger),
        comment="Keys of the parents of genre_ids, used once the model is current; null = not recorded.",
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
    """Learned correlation of genres: the off-diagonal elements of a model's A = ½(A¹ + A²)."""

    __tablename__ = "genre_correlation"
    __table_args__ = (
        {"comment": "Learned correlation of genres, by model: the off-diagonal elements of A."},
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True, comment="The model.")
    genre_a: Mapped[int] = mapped_column(
        ForeignKey("genre.id"), primary_key=True, comment="Given genre i of A[i, j]."
    )
    genre_b: Mapped[int] = mapped_column(
        ForeignKey("genre.id"), primary_key=True, comment="Predicted genre j of A[i, j]."
    )
    weight: Mapped[float] = mapped_column(
        REAL, comment="A[i, j], i = genre_a, j = genre_b: -0.5 to 1, not a probability."
    )


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

    id: Mapped[str] = mapped_column(Text, primary_key=True, comment="The platform's id of the track.")
    title: Mapped[str | None] = mapped_column(Text, comment="From the job; null = not given.")
    artist: Mapped[str | None] = mapped_column(Text, comment="From the job; null = not given.")
    album: Mapped[str | None] = mapped_column(Text, comment="From the job; null = not given.")
    isrc: Mapped[str | None] = mapped_column(
        Text, comment="International Standard Recording Code; null = not given."
    )
    language: Mapped[str | None] = mapped_column(
        Text, comment="BCP 47 tag of the lyrics' language; null = unknown."
    )
    job: Mapped[Any] = mapped_column(
        JSONB, comment="The newest job of the track, which the reconciler enqueues again."
    )
    enqueued_at: Mapped[datetime] = mapped_column(Timestamp, comment="When the newest job was enqueued.")
    registered_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the track was registered."
    )
    attempts: Mapped[int] = mapped_column(
        SmallInteger,
        server_default=text("0"),
        comment="Unfinished attempts since the last finished job: worker died, S3 or catalog unavailable.",
    )
    due_at: Mapped[datetime | None] = mapped_column(
        Timestamp,
        comment="When the reconciler enqueues the job again if it is not finished; null = finished.",
    )


class Classification(Base):
    """Results: one model on one input of one track."""

    __tablename__ = "classification"
    __table_args__ = (
        UniqueConstraint("track_id", "model_id", "input_hash"),
        CheckConstraint(
            "lyrics in ('used', 'absent', 'instrumental', 'too_short', 'unsupported_language')", name="lyrics"
        ),
        Index("classification_hour_idx", text(CLASSIFIED_HOUR)),
        Index("classification_input_idx", "input_hash", "model_id"),
        {"comment": "Results: one model on one input of one track."},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="Primary key."
    )
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), comment="The track.")
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), comment="The model.")
    input_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of the pipeline's version and of the audio's and lyrics' identities."
    )
    scores: Mapped[list[float]] = mapped_column(
        ARRAY(REAL), comment="Probability of every genre, 0 to 1, in the order of model.genre_ids."
    )
    embedding: Mapped[list[float]] = mapped_column(
        ARRAY(REAL), comment="Embedding: the fused vector, mean over windows, for similarity search."
    )
    provider: Mapped[str] = mapped_column(Text, comment="Execution provider: cpu, cuda or tensorrt.")
    precision: Mapped[str] = mapped_column(Text, comment="Precision of the graph: fp32, fp16 or int8.")
    track_seconds: Mapped[float] = mapped_column(REAL, comment="Duration of the track, in seconds.")
    analysed_seconds: Mapped[float] = mapped_column(
        REAL, comment="Duration of the analysed windows, in seconds."
    )
    lyrics: Mapped[str] = mapped_column(
        Text,
        comment="used, or the reason why not: absent (none delivered), instrumental, "
        "too_short (too few words), unsupported_language (a language that the model does not support).",
    )
    timings: Mapped[Any] = mapped_column(
        JSONB,
        comment="Milliseconds per stage; wait = from the publication of the job until its labels were ready "
        "to commit.",
    )
    enqueued_at: Mapped[datetime] = mapped_column(
        Timestamp, comment="When the newest job with this input was enqueued."
    )
    classified_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the result was committed."
    )


class TrackGenre(Base):
    """The accepted labels of a classification, parents included."""

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
    genre: Mapped[str] = mapped_column(Text, comment="Slug of the genre, repeated here for the index.")
    current: Mapped[bool] = mapped_column(
        Boolean, comment="Whether track_current points at the classification."
    )


class TrackCurrent(Base):
    """The classification of each track that analysts see."""

    __tablename__ = "track_current"
    __table_args__ = ({"comment": "The classification of each track that analysts see."},)

    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True, comment="The track.")
    classification_id: Mapped[int] = mapped_column(
        ForeignKey("classification.id"), unique=True, comment="The classification that is shown."
    )
    rank: Mapped[int] = mapped_column(Integer, comment="Rank of the model when the pointer moved.")
    enqueued_at: Mapped[datetime] = mapped_column(
        Timestamp, comment="When the job was enqueued; at equal rank the newer job is shown."
    )


class Feedback(Base):
    """Feedback of people on labels. Models never change it."""

    __tablename__ = "feedback"
    __table_args__ = (
        Index(None, "genre_id"),
        Index(None, "given_at"),
        {"comment": "Feedback of people on labels. Models never change it."},
    )

    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True, comment="The track.")
    genre_id: Mapped[int] = mapped_column(ForeignKey("genre.id"), primary_key=True, comment="The genre.")
    given_by: Mapped[str] = mapped_column(
        Text,
        primary_key=True,
        comment="Who gave the feedback. A person's later feedback on the same label replaces the earlier.",
    )
    is_correct: Mapped[bool] = mapped_column(
        Boolean, comment="Whether the person says that the track has the genre."
    )
    given_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the feedback was given."
    )


class IngestFailure(Base):
    """Failed jobs, each with its message, so that it can be replayed."""

    __tablename__ = "ingest_failure"
    __table_args__ = (
        Index("ingest_failure_open_idx", "track_id", postgresql_where=text("resolved_at is null")),
        {"comment": "Failed jobs, each with its message, so that it can be replayed."},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="Primary key."
    )
    track_id: Mapped[str | None] = mapped_column(
        Text, comment="The platform's id of the track; null = the message has none."
    )
    stage: Mapped[str] = mapped_column(
        Text,
        comment="Stage that failed: validate, fetch, decode, tokenise, infer, commit or reconcile.",
    )
    error_class: Mapped[str] = mapped_column(Text, comment="Name of the error, such as CorruptAudio.")
    reason: Mapped[str] = mapped_column(Text, comment="Message of the error, one line.")
    payload: Mapped[str] = mapped_column(Text, comment="The message as received, JSON.")
    enqueued_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When the job was enqueued; null = the message is not a valid job."
    )
    failed_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=func.now(), comment="When the job failed."
    )
    resolved_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="When a later result or failure of the track was committed; null = open."
    )
