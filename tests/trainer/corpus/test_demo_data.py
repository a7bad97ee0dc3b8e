"""What `make demo-data` made: small, whole, and broad enough for a demo."""

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


def test_it_stays_small() -> None:
    assert sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file()) <= MAX_BYTES


def test_the_bundle_is_whole_and_states_how_good_it_is() -> None:
    manifest = read_bundle(DEMO / "bundle")
    assert manifest.genres == GENRES
    with_lyrics, lyrics_dropped = manifest.measurements
    assert with_lyrics.metrics["f1"] >= 0.7
    assert lyrics_dropped.metrics["f1"] <= with_lyrics.metrics["f1"] - 0.08


def test_every_file_of_a_track_is_there_and_no_other(rows: list[dict[str, Any]]) -> None:
    named = {DEMO / row[kind] for row in rows for kind in ("audio", "lyrics") if row[kind] is not None}
    assert named == {file for file in (DEMO / "tracks").iterdir() if file.is_file()}


def test_the_tracks_are_of_every_kind(rows: list[dict[str, Any]]) -> None:
    assert len(rows) >= 24
    assert {row["split"] for row in rows} == {"test"}
    assert {slug for row in rows for slug in row["genres"]} == set(SLUGS)
    assert {len(row["genres"]) == 1 for row in rows} == {True, False}
    assert {row["lyrics"] is None for row in rows} == {True, False}
    assert len({Path(row["audio"]).suffix for row in rows}) >= 3
