"""Feedback: stored apart from the labels, shown, and exported as training data."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from schemas.errors import ConfigError
from schemas.jobs import InlineLyrics, ObjectRef
from tests.worker.catalog.labels import FakeModel, model, rows
from trainer.data.manifest import read_manifest
from worker.catalog.feedback import FeedbackExport, add_feedback, export_feedback


@pytest.fixture
def fake(catalog: Engine) -> FakeModel:
    fake = model(catalog)
    fake.label("t1", rock=0.9, pop=0.6)
    fake.label("t2", metal=0.9)
    fake.label("t3", jazz=0.9)
    fake.label("unjudged", jazz=0.9)
    return fake


def exported(catalog: Engine, folder: Path) -> dict[str, Any]:
    export_feedback(catalog, folder / "manifest.jsonl")
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return {line["track_id"]: line for line in map(json.loads, lines)}


def test_feedback_is_shown_beside_the_labels_and_does_not_change_them(
    catalog: Engine, fake: FakeModel
) -> None:
    add_feedback(catalog, "t1", "pop", False, "ann")
    add_feedback(catalog, "t1", "pop", False, "bob")
    add_feedback(catalog, "t1", "jazz", True, "ann")
    assert rows(
        catalog,
        "select genre, feedback from analytics.track_label where track_id = 't1' order by genre",
    ) == [("pop", -2), ("rock", None)]
    assert rows(
        catalog,
        "select genre, is_correct, given_by, round(score::numeric, 2)::text, labelled, model "
        "from analytics.feedback order by given_by, genre",
    ) == [
        ("jazz", True, "ann", "0.10", False, "small:1"),
        ("pop", False, "ann", "0.60", True, "small:1"),
        ("pop", False, "bob", "0.60", True, "small:1"),
    ]


def test_the_latest_feedback_of_a_person_counts_and_is_kept(catalog: Engine, fake: FakeModel) -> None:
    add_feedback(catalog, "t1", "pop", False, "ann")
    add_feedback(catalog, "t1", "pop", True, "ann")
    fake.label("t1", day=1, rock=0.9)
    assert rows(catalog, "select is_correct, labelled from analytics.feedback") == [(True, False)]


def test_the_manifest_has_labels_as_people_corrected_them(
    catalog: Engine, fake: FakeModel, tmp_path: Path
) -> None:
    add_feedback(catalog, "t1", "pop", False, "ann")
    add_feedback(catalog, "t1", "jazz", True, "ann")
    assert exported(catalog, tmp_path) == {
        "t1": {
            "track_id": "t1",
            "audio": "s3://masters/audio/t1.flac",
            "lyrics": None,
            "genres": ["jazz", "rock"],
            "artist": "Band",
            "language": None,
            "split": None,
        }
    }
    genres = json.loads((tmp_path / "genres.json").read_text())
    assert {"slug": "metal", "name": "Metal", "parent": "rock"} in genres


def test_inline_lyrics_are_in_the_manifest_as_the_trainer_reads_them(
    catalog: Engine, fake: FakeModel, tmp_path: Path
) -> None:
    result = fake.classified("t1", {"rock": 0.9}, day=1)
    sung = result.job.model_copy(update={"lyrics": InlineLyrics(text="hello words")})
    fake.catalog.write([replace(result, job=sung)])
    kept = ObjectRef(bucket="masters", key="lyrics/t2.txt")
    result = fake.classified("t2", {"rock": 0.9}, day=1)
    fake.catalog.write([replace(result, job=result.job.model_copy(update={"lyrics": kept}))])
    for track in ("t1", "t2"):
        add_feedback(catalog, track, "rock", True, "ann")
    assert {track: line["lyrics"] for track, line in exported(catalog, tmp_path).items()} == {
        "t1": "hello words",
        "t2": "s3://masters/lyrics/t2.txt",
    }
    library = read_manifest(tmp_path / "manifest.jsonl")
    assert [library.load_lyrics(track) for track in library.tracks if track.track_id == "t1"] == [
        "hello words"
    ]


def test_a_track_without_a_job_is_left_out_and_counted(
    catalog: Engine, fake: FakeModel, tmp_path: Path
) -> None:
    with catalog.begin() as connection:
        connection.execute(text("insert into track (id, job, enqueued_at) values ('other', '{}', now())"))
    for track in ("other", "t1"):
        add_feedback(catalog, track, "rock", True, "ann")
    assert export_feedback(catalog, tmp_path / "manifest.jsonl") == FeedbackExport(tracks=1, without_job=1)


def test_a_manifest_is_written_atomically(catalog: Engine, fake: FakeModel, tmp_path: Path) -> None:
    add_feedback(catalog, "t1", "rock", True, "ann")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("the one before\n")
    with catalog.begin() as connection:
        connection.execute(text("alter table track rename column job to elsewhere"))
    with pytest.raises(ProgrammingError):
        export_feedback(catalog, manifest)
    assert manifest.read_text() == "the one before\n"
    assert list(tmp_path.iterdir()) == [manifest]


def test_rejecting_a_parent_also_removes_its_children(
    catalog: Engine, fake: FakeModel, tmp_path: Path
) -> None:
    add_feedback(catalog, "t2", "rock", False, "ann")
    add_feedback(catalog, "t2", "pop", True, "ann")
    assert exported(catalog, tmp_path)["t2"]["genres"] == ["pop"]


def test_the_models_labels_are_used_if_people_disagree(
    catalog: Engine, fake: FakeModel, tmp_path: Path
) -> None:
    for person, verdict in (("ann", True), ("bob", False)):
        add_feedback(catalog, "t3", "jazz", verdict, person)
        add_feedback(catalog, "t3", "pop", verdict, person)
    assert exported(catalog, tmp_path)["t3"]["genres"] == ["jazz"]


def test_a_track_without_any_genre_is_left_out(catalog: Engine, fake: FakeModel, tmp_path: Path) -> None:
    add_feedback(catalog, "t3", "jazz", False, "ann")
    assert exported(catalog, tmp_path) == {}


def test_calibration_compares_scores_with_feedback(catalog: Engine, fake: FakeModel) -> None:
    for track, genre, verdict in (("t1", "rock", True), ("t2", "metal", True), ("t3", "jazz", False)):
        add_feedback(catalog, track, genre, verdict, "ann")
    ((model_label, score_from, votes, mean_score, share_correct),) = rows(
        catalog, "select * from analytics.calibration"
    )
    assert (model_label, votes) == ("small:1", 3)
    assert (float(score_from), mean_score, share_correct) == pytest.approx((0.9, 0.9, 2 / 3), abs=0.11)


def test_unknown_tracks_and_genres_are_refused(catalog: Engine, fake: FakeModel) -> None:
    with pytest.raises(
        ConfigError, match="no model has the genre polka; registered genres: jazz, metal, pop, rock"
    ):
        add_feedback(catalog, "t1", "polka", True, "ann")
    with pytest.raises(ConfigError, match="the catalog has no track nobody"):
        add_feedback(catalog, "nobody", "rock", True, "ann")
