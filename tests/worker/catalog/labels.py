"""Models and labelled tracks for tests of the catalog, written as a worker writes them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine, text

from schemas.bundle import BundleManifest
from schemas.jobs import ObjectRef, TrackJob
from schemas.labels import LabelRule
from worker.catalog.models import register_model
from worker.catalog.tracks import Classified, TrackCatalog
from worker.results import Prediction, TrackResult

GENRES = ("rock", "pop", "metal", "jazz")
START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""


def manifest(version: str = "1", genres: tuple[str, ...] = GENRES) -> BundleManifest:
    return BundleManifest.model_validate(
        {
            "manifest_version": 1,
            "name": "small",
            "version": version,
            "genres": [
                {"slug": slug, "name": slug.title(), "parent": "rock" if slug == "metal" else None}
                for slug in genres
            ],
            "thresholds": [0.5] * len(genres),
            "correlations": [[1.0 if a == b else 0.25 for b in genres] for a in genres],
            "audio": {"sample_rate": 22_050, "window_seconds": 3, "windows": 1, "picking": "spread"},
            "lyrics": {"tokenizer": "tokenizer.json", "max_tokens": 8, "buckets": [8]},
            "embedding_width": 4,
            "graphs": {"fp32": "model.onnx"},
            "files": {"model.onnx": "0" * 64, "tokenizer.json": "0" * 64},
            "measurements": [],
            "parity": {"max_probability_difference": 0, "cases": 1},
            "made_with": {},
        }
    )


def model(engine: Engine, version: str = "1", genres: tuple[str, ...] = GENRES) -> "FakeModel":
    """Register a model; return a fake worker that writes the results a test chooses."""
    described = manifest(version, genres)
    registered = register_model(engine, described, version * 64)
    return FakeModel(described, TrackCatalog(engine, registered, "cpu", "fp32"))


class FakeModel:
    """Writes labels like a worker with one model."""

    def __init__(self, described: BundleManifest, catalog: TrackCatalog) -> None:
        self.manifest = described
        self.catalog = catalog

    def classified(self, track_id: str, scores: Mapping[str, float], **fields: Any) -> Classified:
        """Genres that are not named score 0.1. `day` is the job's, counted from START."""
        vector = np.array([scores.get(genre.slug, 0.1) for genre in self.manifest.genres], dtype=np.float32)
        embedding = fields.get("embedding", (*vector, 0, 0, 0, 0)[:4])
        return Classified(
            job(track_id, fields.get("day", 0)),
            fields.get("input_hash", track_id.encode()),
            TrackResult(Prediction(vector, np.array(embedding, dtype=np.float32)), "used", 200.0, 3.0),
            LabelRule(self.manifest.genres, self.manifest.thresholds).select_labels(vector),
            {"infer": 1.0},
        )

    def label(self, track_id: str, day: float = 0, **scores: float) -> None:
        self.catalog.write([self.classified(track_id, scores, day=day)])


def job(track_id: str, day: float = 0) -> TrackJob:
    return TrackJob(
        schema_version=1,
        track_id=track_id,
        audio=ObjectRef(bucket="masters", key=f"audio/{track_id}.flac"),
        title=f"Song {track_id}",
        artist="Band",
        enqueued_at=START + timedelta(days=day),
    )


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def read_labels(engine: Engine, track_id: str) -> set[str]:
    """Return the genres of a track that analysts see."""
    query = text("select genre from analytics.track_label where track_id = :track")
    with engine.connect() as connection:
        return set(connection.execute(query, {"track": track_id}).scalars())
