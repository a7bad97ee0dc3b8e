import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from schemas.jobs import SCHEMA_FILE, InlineLyrics, ObjectRef, TrackJob, json_schema

JOB: dict[str, Any] = {
    "schema_version": 1,
    "track_id": "track-1",
    "audio": {"bucket": "music", "key": "track-1.mp3", "version_id": "v1"},
    "lyrics": {"text": "la la la"},
    "language": "en",
    "title": "Song",
    "artist": "Singer",
    "album": None,
    "isrc": "GBAYE0601498",
    "enqueued_at": "2026-11-22T12:00:00Z",
    "force": False,
}

WRONG: list[dict[str, Any]] = [
    {"schema_version": 2},
    {"track_id": ""},
    {"track_id": "x" * 256},
    {"track_id": 7},
    {"audio": "s3://music/track-1.mp3"},
    {"audio": {"bucket": "music"}},
    {"audio": {"bucket": "music", "key": "k", "url": "http://x"}},
    {"lyrics": {"text": "la", "bucket": "music", "key": "k"}},
    {"enqueued_at": "2026-11-22T12:00:00"},
    {"enqueued_at": "yesterday"},
    {"force": "yes"},
    {"colour": "red"},
]


def test_the_published_schema_is_in_step() -> None:
    assert SCHEMA_FILE.read_text() == json_schema(), "run `make schema`"


def test_a_full_and_a_minimal_job_are_valid() -> None:
    full = TrackJob.model_validate_json(json.dumps(JOB), strict=True)
    assert full.lyrics == InlineLyrics(text="la la la")
    minimal = {key: JOB[key] for key in ("schema_version", "track_id", "audio", "enqueued_at")}
    assert TrackJob.model_validate_json(json.dumps(minimal), strict=True).lyrics is None
    jsonschema.validate(JOB, json.loads(json_schema()))
    jsonschema.validate(minimal, json.loads(json_schema()))


def test_lyrics_may_be_an_object() -> None:
    job = TrackJob.model_validate(JOB | {"lyrics": {"bucket": "words", "key": "1.txt"}})
    assert job.lyrics == ObjectRef(bucket="words", key="1.txt")


@pytest.mark.parametrize("wrong", WRONG, ids=json.dumps)
def test_invalid_jobs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrackJob.model_validate_json(json.dumps(JOB | wrong), strict=True)


@pytest.mark.parametrize("field", ["track_id", "title", "artist", "isrc"])
@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"], ids=["NUL", "lone surrogate"])
def test_text_that_postgres_cannot_hold_is_refused(field: str, text: str) -> None:
    with pytest.raises(ValidationError):
        TrackJob.model_validate(JOB | {field: text})


def test_a_job_is_equal_after_serialisation() -> None:
    job = TrackJob.model_validate(JOB)
    assert TrackJob.model_validate_json(job.model_dump_json(), strict=True) == job
