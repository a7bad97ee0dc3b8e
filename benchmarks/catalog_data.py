"""Generates a catalog of any size with realistic labels, and loads it by COPY. Equal seeds give equal labels.

The frequencies of label sets are those of `trainer/corpus/labelsets.tsv` and change from week to week. 98 of
100 tracks are labelled, 1 has failed, and 1 waits. A shadow model has classified a quarter of the tracks.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Engine

from schemas.bundle import BundleManifest
from worker.catalog.models import register_model

LABEL_SETS = Path(__file__).parents[1] / "trainer" / "corpus" / "labelsets.tsv"
WIDTH = 128
"""Width of the embeddings, as in the `small` preset."""
NAME_WIDTH = 16
"""Width of the random vectors that replace the embeddings of genre names."""
WEEKS = 26
DRIFT = 0.03
"""Standard deviation of the weekly change of a label set's log frequency."""
CHUNK = 50_000
"""Tracks generated and copied at once."""
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FLOAT4 = 700
"""Object id of the type `real` in PostgreSQL."""

Array = NDArray[Any]


def manifest(version: str) -> BundleManifest:
    """Return the manifest of a model with the genres of the label sets."""
    genres, sets, counts = label_sets()
    joint = (sets * counts[:, None]).T @ sets
    # As in the method: the mean of a conditional probability and the similarity of the names.
    names = np.random.default_rng(0).normal(size=(len(genres), NAME_WIDTH))
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    correlations = (joint / joint.diagonal()[:, None] + names @ names.T) / 2
    return BundleManifest.model_validate(
        {
            "manifest_version": 1,
            "name": "generated",
            "version": version,
            "genres": [{"slug": slug, "name": slug.title()} for slug in genres],
            "thresholds": [0.5] * len(genres),
            "correlations": correlations.tolist(),
            "audio": {"sample_rate": 22_050, "window_seconds": 30, "windows": 1, "picking": "spread"},
            "lyrics": {"tokenizer": "tokenizer.json", "max_tokens": 128, "buckets": [128]},
            "embedding_width": WIDTH,
            "graphs": {"int8": "model.int8.onnx"},
            "files": {"model.int8.onnx": "0" * 64, "tokenizer.json": "0" * 64},
            "measurements": [],
            "parity": {"max_probability_difference": 0, "cases": 1},
            "made_with": {},
        }
    )


def label_sets() -> tuple[list[str], Array, Array]:
    """Return the genres, the label sets (sets, genres) of 0 and 1, and the number of tracks of each set."""
    rows = [line.split("\t") for line in LABEL_SETS.read_text().splitlines() if line[:1].isdigit()]
    genres = sorted({genre for _, names in rows for genre in names.split(",")})
    sets = np.array([[genre in names.split(",") for genre in genres] for _, names in rows], dtype=float)
    return genres, sets, np.array([float(count) for count, _ in rows])


@dataclass(frozen=True)
class Generated:
    """Tracks, and the results of two models for them."""

    ids: Array
    registered: Array
    """Microseconds since 2000-01-01, as in PostgreSQL's timestamps."""
    scores: Array
    """(tracks, genres)"""
    shadow_scores: Array
    embeddings: Array


def generate(tracks: int, seed: int, now: datetime) -> Iterator[Generated]:
    """Yield `tracks` tracks in chunks, in the order of their registration."""
    genres, sets, counts = label_sets()
    random = np.random.default_rng(seed)
    centres = random.normal(size=(len(genres), WIDTH)).astype(np.float32)
    slopes = random.normal(scale=DRIFT, size=len(sets))
    begin = int((now - timedelta(weeks=WEEKS) - EPOCH).total_seconds() * 1e6)
    step = WEEKS * 7 * 86_400 * 1_000_000 / tracks
    for first in range(0, tracks, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, tracks))
        week = first / tracks * WEEKS
        weights = counts * np.exp(slopes * week)
        has = sets[random.choice(len(sets), len(numbers), p=weights / weights.sum())] > 0
        low = random.beta(1.2, 8, size=has.shape) * 0.49
        scores = np.where(has, 0.5 + 0.5 * random.beta(4, 2, size=has.shape), low)
        logits = np.log(scores / (1 - scores)) + random.normal(scale=0.7, size=has.shape)
        noise = random.normal(scale=0.6, size=(len(numbers), WIDTH))
        embeddings = has @ centres / has.sum(axis=1, keepdims=True) + noise
        yield Generated(
            np.array([hashlib.sha256(f"{seed}:{n}".encode()).hexdigest()[:22] for n in numbers], dtype="S22"),
            (begin + numbers * step).astype(np.int64),
            scores.astype(np.float32),
            (1 / (1 + np.exp(-logits))).astype(np.float32),
            embeddings.astype(np.float32),
        )


def load(engine: Engine, tracks: int, seed: int = 0) -> None:
    """Fill an empty, migrated catalog with `tracks` tracks, two models, failures and feedback."""
    current_model = register_model(engine, manifest("1"), "1" * 64)
    shadow = register_model(engine, manifest("2"), "2" * 64)
    genre_ids = np.array(current_model.genre_ids, np.int16)
    random = np.random.default_rng(seed + 1)
    next_id = 1
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        # Without foreign key checks, which are slow: the generated rows satisfy them.
        cursor.execute("set session_replication_role = replica")
        cursor.execute("create temporary table staged (classification bigint, genre smallint, score real)")
        for chunk in generate(tracks, seed, datetime.now(UTC)):
            _copy_tracks(cursor, chunk)
            draw = random.random(len(chunk.ids))
            done, failed = draw < 0.98, (draw >= 0.98) & (draw < 0.99)
            by_shadow = draw < 0.25
            for model, scores, selected, current in (
                (current_model.id, chunk.scores, done, True),
                (shadow.id, chunk.shadow_scores, by_shadow, False),
            ):
                ids = np.arange(next_id, next_id + selected.sum())
                next_id += len(ids)
                _copy_classifications(cursor, ids, model, chunk, scores, selected, random)
                row, column = np.nonzero(scores[selected] >= 0.5)
                columns = {
                    "classification": ids[row],
                    "genre": genre_ids[column],
                    "score": scores[selected][row, column],
                }
                copy(cursor, "staged", columns)
                cursor.execute(
                    "insert into track_genre (classification_id, genre_id, score, genre, current) "
                    "select s.classification, s.genre, s.score, g.slug, %s from staged s "
                    "join genre g on g.id = s.genre order by s.classification",
                    (current,),
                )
                cursor.execute("truncate staged")
                if current:
                    columns = {
                        "track_id": chunk.ids[selected],
                        "classification_id": ids,
                        "rank": np.ones(len(ids), np.int32),
                        "enqueued_at": chunk.registered[selected],
                    }
                    copy(cursor, "track_current", columns)
            cursor.executemany(
                "insert into ingest_failure (track_id, stage, error_class, reason, payload) "
                "values (%s, 'decode', 'CorruptAudio', 'the file ends in the middle of a frame', '{}')",
                [(track.decode(),) for track in chunk.ids[failed]],
            )
            # The share of correct labels in the feedback equals their scores.
            reviewed = np.flatnonzero(done)[: len(chunk.ids) // 100]
            best = chunk.scores[reviewed].argmax(axis=1)
            is_correct = random.random(len(reviewed)) < chunk.scores[reviewed, best]
            cursor.executemany(
                "insert into feedback (track_id, genre_id, given_by, is_correct) "
                "values (%s, %s, 'editor', %s)",
                [
                    (chunk.ids[at].decode(), int(genre_ids[genre]), bool(correct))
                    for at, genre, correct in zip(reviewed, best, is_correct, strict=True)
                ],
            )
        cursor.execute("select setval(pg_get_serial_sequence('classification', 'id'), %s)", (next_id,))
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum (analyze)")


def _copy_tracks(cursor: psycopg.Cursor[Any], chunk: Generated) -> None:
    count = len(chunk.ids)
    numbers = np.char.zfill(np.arange(count).astype("S6"), 6)
    job = json.dumps(
        {
            "schema_version": 1,
            "track_id": "%TRACK%",
            "audio": {"bucket": "masters", "key": "audio/%TRACK%.flac", "version_id": None},
            "lyrics": {"bucket": "masters", "key": "lyrics/%TRACK%.txt", "version_id": None},
            "language": "en",
            "enqueued_at": "2026-01-01T00:00:00Z",
            "force": False,
        }
    )
    copy(
        cursor,
        "track",
        {
            "id": chunk.ids,
            "title": np.char.add(b"A title of its own ", numbers),
            "artist": np.char.add(b"An artist ", np.char.zfill((np.arange(count) // 12).astype("S6"), 6)),
            "isrc": np.char.add(b"DEA012", numbers),
            "language": np.full(count, b"en"),
            "job": np.array(
                [b"\x01" + job.replace("%TRACK%", track_id.decode()).encode() for track_id in chunk.ids]
            ),
            "enqueued_at": chunk.registered,
            "registered_at": chunk.registered,
        },
    )


def _copy_classifications(
    cursor: psycopg.Cursor[Any],
    ids: Array,
    model: int,
    chunk: Generated,
    scores: Array,
    selected: Array,
    random: Any,
) -> None:
    count = len(ids)
    waited = (random.exponential(20e6, count)).astype(np.int64)
    timings = json.dumps({"open": 9.8, "fetch": 81.2, "decode": 210.4, "tokenise": 1.1, "infer": 95.7})
    copy(
        cursor,
        "classification",
        {
            "id": ids,
            "track_id": chunk.ids[selected],
            "model_id": np.full(count, model, np.int16),
            "input_hash": random.bytes(32 * count),
            "scores": scores[selected],
            "embedding": chunk.embeddings[selected],
            "provider": np.full(count, b"cpu"),
            "precision": np.full(count, b"int8"),
            "track_seconds": random.uniform(90, 400, count).astype(np.float32),
            "analysed_seconds": np.full(count, 30, np.float32),
            "lyrics": np.full(count, b"used"),
            "timings": np.full(count, b"\x01" + timings.encode()),
            "enqueued_at": chunk.registered[selected],
            "classified_at": chunk.registered[selected] + waited,
        },
    )


def copy(cursor: psycopg.Cursor[Any], table: str, columns: Mapping[str, Array | bytes]) -> None:
    """COPY rows in PostgreSQL's binary format. All values of a column must have the same width in bytes."""
    count = len(next(column for column in columns.values() if not isinstance(column, bytes)))
    arrays = {
        name: np.frombuffer(column, f"V{len(column) // count}") if isinstance(column, bytes) else column
        for name, column in columns.items()
    }
    fields: list[Any] = [("fields", ">i2")]
    for name, array in arrays.items():
        fields += [(f"{name} bytes", ">i4"), (name, _binary(array))]
    rows = np.zeros(count, np.dtype(fields))
    rows["fields"] = len(arrays)
    for name, array in arrays.items():
        rows[f"{name} bytes"] = rows.dtype[name].itemsize
        if array.ndim == 2:
            rows[name]["head"] = (1, 0, FLOAT4, array.shape[1], 1)
            rows[name]["items"]["bytes"] = 4
            rows[name]["items"]["value"] = array
        else:
            rows[name] = array
    names = ", ".join(columns)
    with cursor.copy(f"copy {table} ({names}) from stdin (format binary)") as pipe:
        pipe.write(BINARY_HEADER)
        pipe.write(rows.tobytes())
        pipe.write(b"\xff\xff")


def _binary(array: Array) -> Any:
    if array.ndim == 2:
        item = np.dtype([("bytes", ">i4"), ("value", ">f4")])
        return np.dtype([("head", ">i4", 5), ("items", item, array.shape[1])])
    return array.dtype if array.dtype.kind in "SV" else array.dtype.newbyteorder(">")
