"""The job: what a platform enqueues for every newly ingested track.

A job travels as the keyword arguments of the Celery task `TASK_NAME` (JSON, message protocol 2).
The published JSON Schema, `schemas/track_job.schema.json`, is generated from `TrackJob` by
`python -m schemas.jobs`; producers in other languages need nothing else.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

TASK_NAME = "cogenre.classify_track"
QUEUE_TRACKS = "tracks"
"""New tracks. Always served first."""
QUEUE_BACKFILL = "backfill"
"""Old tracks that a newer model labels again. Served when no new track waits."""

SCHEMA_FILE = Path(__file__).with_name("track_job.schema.json")


def _storable(text: str) -> str:
    """Postgres text holds neither NUL nor lone surrogates; JSON strings may carry both."""
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return text


Storable = AfterValidator(_storable)
Name = Annotated[str, Field(min_length=1, max_length=1024), Storable]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectRef(_Message):
    """An object in S3. Never a URL: the worker reads from the buckets it was allowed, nothing else."""

    bucket: Annotated[str, Field(min_length=3, max_length=63), Storable]
    key: Name
    version_id: Annotated[Name | None, Field(description="Pins one version; null = the latest.")] = None


class InlineLyrics(_Message):
    """Lyrics carried by the message itself. Empty text means that there are none."""

    text: Annotated[str, Field(max_length=100_000), Storable]


class TrackJob(_Message):
    """Version 1 of the message: classify one track."""

    schema_version: Literal[1] = Field(description="Version of this contract.")
    track_id: Annotated[
        str,
        Field(min_length=1, max_length=255, description="The platform's own id, unique for a track."),
        Storable,
    ]
    audio: ObjectRef = Field(description="The encoded audio: WAV, FLAC, MP3, Ogg or MP4.")
    lyrics: ObjectRef | InlineLyrics | None = Field(
        default=None, description="Where the lyrics are, or the lyrics themselves; null = none known."
    )
    language: Annotated[
        Annotated[str, Field(max_length=35), Storable] | None,
        Field(description="BCP 47 tag of the lyrics' language; null = unknown."),
    ] = None
    title: Name | None = None
    artist: Name | None = None
    album: Name | None = None
    isrc: Annotated[Name | None, Field(description="International Standard Recording Code.")] = None
    enqueued_at: AwareDatetime = Field(description="When the producer enqueued it; RFC 3339 with an offset.")
    force: bool = Field(default=False, description="Classify again even if this input was seen before.")


def json_schema() -> str:
    """The published JSON Schema of `TrackJob`, as it stands in `SCHEMA_FILE`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TrackJob.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json_schema())
