"""Files of a library: on disk, or in S3 by URL."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import S3TransferRetriesExceededError, TransferConfig  # type: ignore[attr-defined]
from botocore.exceptions import BotoCoreError, ClientError

from trainer.cache import key_of
from trainer.errors import UnreadableFile

SCHEME = "s3://"
WHOLE = TransferConfig(use_threads=False, multipart_threshold=1 << 40)
"""One request an object: tracks are what is read side by side."""


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


def version_of(name: str) -> str | None:
    """Of an object, by its URL and ETag; None where `name` is a path. Raises UnreadableFile."""
    if not is_url(name):
        return None
    bucket, key = _parts(name)
    with _explained(name):
        return key_of(name, client().head_object(Bucket=bucket, Key=key)["ETag"])


def _read_object(url: str) -> bytes:
    content = io.BytesIO()
    with _explained(url):
        # Unlike get_object, it asks again where a connection breaks half-way.
        client().download_fileobj(*_parts(url), content, Config=WHOLE)
    return content.getvalue()


def _parts(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    return bucket, key


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, S3TransferRetriesExceededError, ValueError) as error:
        raise UnreadableFile(f"cannot read {url}: {error}") from error


@cache
def client() -> Any:
    """Set up as AWS's own tools are: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and so on."""
    return boto3.session.Session().client("s3")
