"""Results of tracks, written in groups: one statement per table, rows sorted by key.

Values are passed as arrays to `unnest()`, which takes less than half the time of executemany for 64 tracks.
JSON is passed as one document, because an array of texts would escape every quote. Rows are sorted so that
two workers that write the same tracks cannot deadlock.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Engine, text

from schemas.jobs import TrackJob
from schemas.labels import Label
from worker.catalog.jobs import finish_tracks, upsert_tracks
from worker.catalog.models import RegisteredModel
from worker.results import Floats, Prediction, TrackResult

# No other model can become current before the commit, because a promotion waits for this lock. A worker that
# waits for a promotion's lock sees the new status of the model.
HOLD_CURRENT_MODEL = text("lock table track_current in row exclusive mode")

# unnest() would flatten nested arrays, which must also be rectangular: scores are passed as text literals.
UPSERT_CLASSIFICATIONS = text("""
    insert into classification (
        track_id, model_id, input_hash, scores, embedding, provider, precision,
        track_seconds, analysed_seconds, lyrics, timings, enqueued_at
    )
    select track_id, :model, input_hash, cast(scores as real[]), cast(embedding as real[]),
           :provider, :precision, track_seconds, analysed_seconds, lyrics, timings, enqueued_at
    from rows from (
        unnest(
            cast(:track_id as text[]), cast(:input_hash as bytea[]), cast(:scores as text[]),
            cast(:embedding as text[]), cast(:track_seconds as real[]), cast(:analysed_seconds as real[]),
            cast(:lyrics as text[]), cast(:enqueued_at as timestamptz[])
        ),
        jsonb_array_elements(cast(:timings as jsonb))
    ) as given (
        track_id, input_hash, scores, embedding, track_seconds, analysed_seconds, lyrics, enqueued_at, timings
    )
    order by track_id, input_hash
    on conflict (track_id, model_id, input_hash) do update
    set scores = excluded.scores, embedding = excluded.embedding, provider = excluded.provider,
        precision = excluded.precision, track_seconds = excluded.track_seconds,
        analysed_seconds = excluded.analysed_seconds, lyrics = excluded.lyrics, timings = excluded.timings,
        enqueued_at = greatest(classification.enqueued_at, excluded.enqueued_at), classified_at = now()
    returning id, track_id, input_hash
""")

DELETE_LABELS = text("delete from track_genre where classification_id = any(:ids)")

INSERT_LABELS = text("""
    insert into track_genre (classification_id, genre_id, score, genre, current)
    select given.*, genre.slug,
           exists (select from track_current where classification_id = given.classification_id)
    from unnest(cast(:classification as bigint[]), cast(:genre as smallint[]), cast(:score as real[]))
        as given (classification_id, genre_id, score)
    join genre on genre.id = given.genre_id
""")

# Labels of a shadow are stored, not shown. The pointer moves to the higher rank, then to the newer job.
POINT_AT_CURRENT = text("""
    insert into track_current (track_id, classification_id, rank, enqueued_at)
    select distinct on (c.track_id) c.track_id, c.id, m.rank, c.enqueued_at
    from classification c join model m on m.id = c.model_id
    where c.id = any(:ids) and m.status = 'current'
    order by c.track_id, c.enqueued_at desc
    on conflict (track_id) do update
    set classification_id = excluded.classification_id, rank = excluded.rank,
        enqueued_at = excluded.enqueued_at
    where (excluded.rank, excluded.enqueued_at) >= (track_current.rank, track_current.enqueued_at)
""")

# `enqueued_at` is that of the newest job with this input: the pointer is ordered by it.
RENEW_RESULT = text("""
    update classification set enqueued_at = :enqueued_at
    where track_id = :track_id and model_id = :model and input_hash = :input_hash
      and enqueued_at < :enqueued_at
    returning id
""")

# The track's own result first, then that of any other track with the same input: many may share one.
FIND_RESULT = text("""
    (select true as is_same_track, scores, embedding, lyrics, track_seconds, analysed_seconds
     from classification
     where track_id = :track_id and model_id = :model and input_hash = :input_hash)
    union all
    (select false, scores, embedding, lyrics, track_seconds, analysed_seconds
     from classification
     where input_hash = :input_hash and model_id = :model
     limit 1)
    order by is_same_track desc
    limit 1
""")


@dataclass(frozen=True)
class Classified:
    """A classified track, to be committed."""

    job: TrackJob
    input_hash: bytes
    result: TrackResult
    labels: Sequence[Label]
    timings: dict[str, float]
    """Milliseconds per stage."""


@dataclass(frozen=True)
class StoredResult:
    """An earlier result of the model for the same input."""

    is_same_track: bool
    """Whether it is a result of the same track, not of another track with the same audio and lyrics."""
    result: TrackResult


class TrackCatalog:
    """Reads and writes the results of one model. Thread-safe."""

    def __init__(self, engine: Engine, model: RegisteredModel, provider: str, precision: str) -> None:
        self._engine = engine
        self._model = model
        self._ran_on = {"model": model.id, "provider": provider, "precision": precision}

    def find_result(self, track_id: str, input_hash: bytes) -> StoredResult | None:
        """Return the model's earlier result for this input, of this or another track; None = none."""
        key = {"track_id": track_id, "model": self._model.id, "input_hash": input_hash}
        with self._engine.connect() as connection:
            row = connection.execute(FIND_RESULT, key).one_or_none()
        if row is None:
            return None
        prediction = Prediction(np.array(row.scores, np.float32), np.array(row.embedding, np.float32))
        return StoredResult(
            row.is_same_track, TrackResult(prediction, row.lyrics, row.track_seconds, row.analysed_seconds)
        )

    def write(self, group: Sequence[Classified]) -> list[None]:
        """Commit a group of tracks in one transaction."""
        # If the same track is twice in the group, the later result replaces the earlier.
        newest = {(track.job.track_id, track.input_hash): track for track in group}
        with self._engine.begin() as connection:
            connection.execute(HOLD_CURRENT_MODEL)
            upsert_tracks(connection, (track.job for track in newest.values()))
            ids = {
                (row.track_id, bytes(row.input_hash)): row.id
                for row in connection.execute(
                    UPSERT_CLASSIFICATIONS, self._ran_on | _columns(newest.values())
                )
            }
            labels = [
                (ids[key], self._model.genre_ids[label.genre], label.score)
                for key, track in newest.items()
                for label in track.labels
            ]
            connection.execute(DELETE_LABELS, {"ids": list(ids.values())})
            connection.execute(POINT_AT_CURRENT, {"ids": list(ids.values())})
            # After the pointer, so that each label is written once, with its final `current`.
            connection.execute(
                INSERT_LABELS,
                {
                    "classification": [label[0] for label in labels],
                    "genre": [label[1] for label in labels],
                    "score": [label[2] for label in labels],
                },
            )
            finished: dict[str, datetime] = {}
            for track in newest.values():
                job = track.job
                finished[job.track_id] = max(job.enqueued_at, finished.get(job.track_id, job.enqueued_at))
            finish_tracks(connection, finished)
        return [None] * len(group)

    def renew_result(self, job: TrackJob, input_hash: bytes) -> None:
        """Show the model's earlier result for this input again, because a newer job has the same input.

        Does not finish the job: other models may not have classified the input.
        """
        key = {"track_id": job.track_id, "model": self._model.id, "input_hash": input_hash}
        with self._engine.begin() as connection:
            connection.execute(HOLD_CURRENT_MODEL)
            renewed = connection.execute(RENEW_RESULT, key | {"enqueued_at": job.enqueued_at}).scalars()
            connection.execute(POINT_AT_CURRENT, {"ids": list(renewed)})


def _columns(tracks: Iterable[Classified]) -> dict[str, Any]:
    """Return the parameters of UPSERT_CLASSIFICATIONS: one array per column."""
    rows = list(tracks)
    return {
        "track_id": [track.job.track_id for track in rows],
        "input_hash": [track.input_hash for track in rows],
        "scores": [_array_literal(track.result.prediction.scores) for track in rows],
        "embedding": [_array_literal(track.result.prediction.embedding) for track in rows],
        "track_seconds": [track.result.track_seconds for track in rows],
        "analysed_seconds": [track.result.analysed_seconds for track in rows],
        "lyrics": [track.result.lyrics for track in rows],
        "timings": json.dumps([track.timings for track in rows]),
        "enqueued_at": [track.job.enqueued_at for track in rows],
    }


def _array_literal(values: Floats) -> str:
    """Return a real[] literal of PostgreSQL. Nine digits represent every float32 exactly."""
    return "{" + ",".join(["%.9g"] * len(values)) % tuple(values.tolist()) + "}"
