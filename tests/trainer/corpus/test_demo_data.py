"""The committed output of `make demo-data`: its size, its completeness, and its variety."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.bundle import read_bundle
from trainer.corpus.labels import GENRES, SLUGS

DEMO = Path(__file__).parents[3] / "deploy" / "demo"

MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DEMO / "tracks.jsonl").read_text().splitlines()]


def test_the_demo_data_is_small() -> None:
    assert sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file()) <= MAX_BYTES


def test_the_bundle_is_valid_and_has_its_metrics() -> None:
    manifest = read_bundle(DEMO / "bundle")
    assert manifest.genres == GENRES
    with_lyrics, lyrics_dropped = manifest.measurements
    assert with_lyrics.metrics["f1"] >= 0.7
    assert lyrics_dropped.metrics["f1"] <= with_lyrics.metrics["f1"] - 0.08


def test_the_folder_has_exactly_the_files_of_the_manifest(rows: list[dict[str, Any]]) -> None:
    named = {DEMO / row[kind] for row in rows for kind in ("audio", "lyrics") if row[kind] is not None}
    assert named == {file for file in (DEMO / "tracks").iterdir() if file.is_file()}


def test_the_tracks_have_all_genres_and_several_formats(rows: list[dict[str, Any]]) -> None:
    assert len(rows) >= 24
    assert {row["split"] for row in rows} == {"test"}
    assert {slug for row in rows for slug in row["genres"]} == set(SLUGS)
    assert {len(row["genres"]) == 1 for row in rows} == {True, False}
    assert {row["lyrics"] is None for row in rows} == {True, False}
    assert len({Path(row["audio"]).suffix for row in rows}) >= 3
