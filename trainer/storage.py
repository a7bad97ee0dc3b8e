"""Files of a library: on disk, or in S3 by URL."""

from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from trainer.errors import UnreadableFile

SCHEME = "s3://"


def is_url(name: str) -> bool:
    return name.startswith(SCHEME)


def read_bytes(folder: Path, name: str) -> bytes:
    """A whole file: an s3:// URL, or a path relative to `folder`. Raises UnreadableFile."""
    if is_url(name):
        return _read_object(name)
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise UnreadableFile(
            f"cannot read {name} ({error.strerror}): paths are relative to {folder}"
        ) from error


def _read_object(url: str) -> bytes:
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    try:
        content: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise UnreadableFile(f"cannot read {url}: {error}") from error
    return content


@cache
def client() -> Any:
    """Set up as AWS's own tools are: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and so on."""
    return boto3.session.Session().client("s3")
