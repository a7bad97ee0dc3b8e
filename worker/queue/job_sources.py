"""Reads jobs from JSON lines, from the objects under an S3 prefix, or from S3 event notifications.

An S3 object becomes a job if its key matches a pattern with a group `track_id`, which is the track's id. The
object `NAME.txt` beside `NAME.mp3` holds its lyrics.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.jobs import ObjectRef, TrackJob
from worker.errors import BucketUnlisted

DEFAULT_PATTERN = r"(?P<track_id>[^/]+)\.(?:wav|flac|mp3|ogg|oga|opus|aac|m4a|mp4)$"
"""The track's id is the file name without its suffix."""

LYRICS_SUFFIX = ".txt"


def jobs_from_lines(lines: Iterable[str]) -> Iterator[TrackJob]:
    """Yield the jobs of JSON lines; empty lines are skipped. See `job_from_fields` for defaults.

    Raises ConfigError with the line's number at the first line that is not a valid job.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"line {number} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ConfigError(f"line {number} is not a JSON object")
        try:
            yield job_from_fields(fields)
        except ConfigError as error:
            raise ConfigError(f"line {number}: {error}") from None


def job_from_fields(fields: dict[str, Any]) -> TrackJob:
    """Return the job with these fields. Defaults: `schema_version` 1, `enqueued_at` now.

    Raises ConfigError that names the first invalid field.
    """
    try:
        return TrackJob.model_validate({"schema_version": 1, "enqueued_at": datetime.now(UTC), **fields})
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {first['msg']} (see schemas/track_job.schema.json)") from None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile `--pattern`, ignoring case. Raises ConfigError if it is invalid or has no group `track_id`."""
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"--pattern is not a regular expression: {error}") from None
    if "track_id" not in compiled.groupindex:
        raise ConfigError("--pattern has no group (?P<track_id>…), which gives the track's id in a key")
    return compiled


def jobs_from_prefix(
    s3: Any, bucket: str, prefix: str, pattern: re.Pattern[str], after: str | None
) -> Iterator[TrackJob]:
    """Yield a job for each audio object under a prefix, in the order of the keys.

    If `after` is given, starts after this key. Raises BucketUnlisted if the bucket does not exist or S3
    refuses to list it, ConfigError if it cannot be listed now.
    """
    if not bucket:
        raise ConfigError("the URL has no bucket: write s3://bucket/prefix")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, **({"StartAfter": after} if after else {})
    )
    keys = (entry["Key"] for page in _list_pages(bucket, pages) for entry in page.get("Contents", []))
    # Keys are sorted, so files with the same stem and different suffixes are adjacent.
    for _, same_stem in groupby(keys, key=_without_suffix):
        group = list(same_stem)
        lyrics_key = next((key for key in group if key.endswith(LYRICS_SUFFIX)), None)
        for key in group:
            if job := _job_of_object(bucket, key, None, lyrics_key, pattern):
                yield job


def jobs_from_event(s3: Any, notification: bytes, pattern: re.Pattern[str]) -> Iterator[TrackJob]:
    """Yield the jobs of one event notification of S3 or of a compatible server.

    Objects whose key does not match, and events other than creations, yield none. Raises ValueError if
    `notification` is not one; BucketUnlisted if the bucket does not exist or S3 refuses to list it;
    ConfigError if it cannot be listed now.
    """
    try:
        records = json.loads(notification).get("Records", [])
        created = [record for record in records if "ObjectCreated" in record["eventName"]]
        entries = [(record["s3"]["bucket"]["name"], record["s3"]["object"]) for record in created]
        objects = [(bucket, unquote_plus(entry["key"]), entry.get("versionId")) for bucket, entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an S3 event notification: {error!r}") from error
    for bucket, key, version in objects:
        if pattern.search(key):
            lyrics_key = f"{_without_suffix(key)}{LYRICS_SUFFIX}"
            pages = s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=lyrics_key, PaginationConfig={"MaxItems": 1}
            )
            has_lyrics = any(
                entry["Key"] == lyrics_key
                for page in _list_pages(bucket, pages)
                for entry in page.get("Contents", [])
            )
            if job := _job_of_object(bucket, key, version, lyrics_key if has_lyrics else None, pattern):
                yield job


def _list_pages(bucket: str, pages: Iterable[Any]) -> Iterator[Any]:
    """Yield the pages of a listing. Raises BucketUnlisted or ConfigError, as `jobs_from_prefix` does."""
    from storage.client import S3_ERRORS, s3_error_kind  # not at the top, because JSON lines need no S3

    try:
        yield from pages
    except S3_ERRORS as error:
        kind = BucketUnlisted if s3_error_kind(error).is_final else ConfigError
        raise kind(f"the bucket {bucket} cannot be listed: {' '.join(str(error).split())}") from None


def _without_suffix(key: str) -> str:
    """Return the key without its suffix."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _job_of_object(
    bucket: str, key: str, version: str | None, lyrics_key: str | None, pattern: re.Pattern[str]
) -> TrackJob | None:
    """Return the job of an audio object; None if its key does not match the pattern."""
    match = pattern.search(key)
    if match is None:
        return None
    return TrackJob(
        schema_version=1,
        track_id=match["track_id"],
        audio=ObjectRef(bucket=bucket, key=key, version_id=version),
        lyrics=ObjectRef(bucket=bucket, key=lyrics_key) if lyrics_key else None,
        enqueued_at=datetime.now(UTC),
    )
