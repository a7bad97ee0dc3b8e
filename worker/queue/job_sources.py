"""Where jobs come from: JSON lines, the objects under an S3 prefix, S3 event notifications.

Audio in S3 becomes a job where its key matches a pattern whose group `track_id` says which track it is;
a `.txt` of the same name is its lyrics.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.jobs import ObjectRef, TrackJob
from storage.objects import refuses
from worker.errors import BucketUnlisted

PATTERN = r"(?P<track_id>[^/]+)\.(?:wav|flac|mp3|ogg|oga|opus|aac|m4a|mp4)$"
"""By default the file's name is the track's id."""

LYRICS = ".txt"


def from_lines(lines: Iterable[str]) -> Iterator[TrackJob]:
    """Jobs from JSON lines; `schema_version` and `enqueued_at` may be left out.

    Raises ConfigError at the first line that is no job, naming it.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"line {number} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ConfigError(f"line {number} is no JSON object")
        try:
            yield from from_fields(fields)
        except ConfigError as error:
            raise ConfigError(f"line {number}: {error}") from None


def from_fields(fields: dict[str, Any]) -> Iterator[TrackJob]:
    """The one job of these fields; `schema_version` and `enqueued_at` may be left out. Raises ConfigError."""
    try:
        yield TrackJob.model_validate({"schema_version": 1, "enqueued_at": datetime.now(UTC), **fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {first['msg']} (see schemas/track_job.schema.json)") from None


def compiled(pattern: str) -> re.Pattern[str]:
    """Raises ConfigError where it is no pattern, or none with a group `track_id`."""
    try:
        found = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"--pattern is no regular expression: {error}") from None
    if "track_id" not in found.groupindex:
        raise ConfigError("--pattern has no group (?P<track_id>…) that says which track a key is of")
    return found


def from_prefix(
    s3: Any, bucket: str, prefix: str, pattern: re.Pattern[str], after: str | None
) -> Iterator[TrackJob]:
    """Jobs of the objects under a prefix, in the order of their keys, from behind the key `after` on.

    Raises ConfigError where they cannot be listed; BucketUnlisted, if that is for good.
    """
    if not bucket:
        raise ConfigError("there is no bucket in it: write s3://bucket/prefix")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, **({"StartAfter": after} if after else {})
    )
    keys = (entry["Key"] for page in _listed(bucket, pages) for entry in page.get("Contents", []))
    # Keys come sorted, so that files of one name and several suffixes are neighbours.
    for _, neighbours in groupby(keys, key=_stem):
        group = list(neighbours)
        words = next((key for key in group if key.endswith(LYRICS)), None)
        for key in group:
            if job := _job(bucket, key, None, words, pattern):
                yield job


def _listed(bucket: str, pages: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from pages
    except (BotoCoreError, ClientError) as error:
        final = isinstance(error, ParamValidationError) or (isinstance(error, ClientError) and refuses(error))
        kind = BucketUnlisted if final else ConfigError
        raise kind(f"the bucket {bucket} cannot be listed: {' '.join(str(error).split())}") from None


def from_event(s3: Any, notification: bytes, pattern: re.Pattern[str]) -> Iterator[TrackJob]:
    """Jobs of one S3 event notification, as S3 and its compatibles write it.

    Objects that the pattern does not match, and events other than creations, give none. Raises ValueError
    where it is no notification, ConfigError where the bucket cannot be listed; BucketUnlisted, if that is
    for good.
    """
    try:
        records = json.loads(notification).get("Records", [])
        created = [record for record in records if "ObjectCreated" in record["eventName"]]
        objects = [(record["s3"]["bucket"]["name"], record["s3"]["object"]) for record in created]
        named = [(bucket, unquote_plus(entry["key"]), entry.get("versionId")) for bucket, entry in objects]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no S3 event notification: {error!r}") from error
    for bucket, key, version in named:
        if pattern.search(key):
            words = f"{_stem(key)}{LYRICS}"
            pages = s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=words, PaginationConfig={"MaxItems": 1}
            )
            found = any(
                entry["Key"] == words for page in _listed(bucket, pages) for entry in page.get("Contents", [])
            )
            if job := _job(bucket, key, version, words if found else None, pattern):
                yield job


def _stem(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _job(
    bucket: str, key: str, version: str | None, words: str | None, pattern: re.Pattern[str]
) -> TrackJob | None:
    match = pattern.search(key)
    if match is None:
        return None
    return TrackJob(
        schema_version=1,
        track_id=match["track_id"],
        audio=ObjectRef(bucket=bucket, key=key, version_id=version),
        lyrics=ObjectRef(bucket=bucket, key=words) if words else None,
        enqueued_at=datetime.now(UTC),
    )
