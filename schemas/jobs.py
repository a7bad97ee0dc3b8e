"""The job: the message that a platform enqueues for every newly ingested track.

The fields of a job are the keyword arguments of the Celery task `TASK_NAME` (JSON, message protocol 2).
`python -m schemas.jobs` generates the published JSON Schema, `schemas/track_job.schema.json`, which is all
that producers in other languages need.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

TASK_NAME = "cogenre.classify_track"
QUEUE_TRACKS = "tracks"
"""Queue of new tracks, always served first."""
QUEUE_BACKFILL = "backfill"
"""Queue of tracks that a newer model classifies again, served only while `QUEUE_TRACKS` is empty."""

SCHEMA_FILE = Path(__file__).with_name("track_job.schema.json")


def _reject_unstorable(text: str) -> str:
    """Reject NUL characters and lone surrogates: valid in JSON strings, but PostgreSQL cannot store them."""
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return text


Storable = AfterValidator(_reject_unstorable)
Name = Annotated[str, Field(min_length=1, max_length=1024), Storable]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectRef(_Message):
    """An object in S3. Not a URL: a worker reads only from the buckets that its settings allow."""

    bucket: Annotated[str, Field(min_length=3, max_length=63), Storable]
    key: Name
    version_id: Annotated[Name | None, Field(description="Version of the object; null = the latest.")] = None


class InlineLyrics(_Message):
    """Lyrics inside the message. An empty text means that the track has no lyrics."""

    text: Annotated[str, Field(max_length=100_000), Storable]


class TrackJob(_Message):
    """The message, version 1: classify one track."""

    schema_version: Literal[1] = Field(description="Version of this schema.")
    track_id: Annotated[
        str,
        Field(min_length=1, max_length=255, description="The platform's id of the track, unique."),
        Storable,
    ]
    audio: ObjectRef = Field(description="The encoded audio: WAV, FLAC, MP3, Ogg, AAC or MP4.")
    lyrics: ObjectRef | InlineLyrics | None = Field(
        default=None, description="The lyrics, or the object that holds them; null = no lyrics."
    )
    language: Annotated[
        Annotated[str, Field(max_length=35), Storable] | None,
        Field(description="BCP 47 tag of the lyrics' language; null = unknown."),
    ] = None
    title: Name | None = None
    artist: Name | None = None
    album: Name | None = None
    isrc: Annotated[Name | None, Field(description="International Standard Recording Code.")] = None
    enqueued_at: AwareDatetime = Field(
        description="When the producer enqueued the job; RFC 3339 with an offset."
    )
    force: bool = Field(default=False, description="Classify again even if this input was classified before.")


def json_schema() -> str:
    """Return the JSON Schema of `TrackJob`, as published in `SCHEMA_FILE`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TrackJob.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json_schema())
