"""Files of a library: on disk, or in S3 by URL.

A file that is not there, or that may not be read, is left out. A disk or an S3 that fails ends the run: all
that it holds would be left out, though nothing is wrong with it.
"""

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from media.cpus import available_cpus
from storage.client import BOTO3_DEFAULTS, S3_ERRORS, S3ErrorKind, s3_client, s3_error_kind
from trainer.data.digest import content_digest
from trainer.errors import StorageError, UnreadableFile

SCHEME = "s3://"
WHOLE = TransferConfig(use_threads=False, multipart_threshold=1 << 40)
"""One request an object: tracks are what is read side by side."""

ABSENT_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP}
UNREADABLE_OBJECT = {S3ErrorKind.MISSING, S3ErrorKind.FORBIDDEN, S3ErrorKind.INVALID_REQUEST}
"""FORBIDDEN: without s3:ListBucket, S3 answers 403 for an object that does not exist."""


def is_url(name: str) -> bool:
    return name.startswith(SCHEME)


def read_bytes(folder: Path, name: str) -> bytes:
    """A whole file: an s3:// URL, or a path relative to `folder`. Raises UnreadableFile, StorageError."""
    if is_url(name):
        return _read_object(name)
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        said = f"cannot read {name} ({error.strerror}): paths are relative to {folder}"
        raise (UnreadableFile if error.errno in ABSENT_FILE else StorageError)(said) from error


def version_of(name: str) -> str | None:
    """Of an object, by its URL and ETag; None where `name` is a path. Raises UnreadableFile, StorageError."""
    if not is_url(name):
        return None
    bucket, key = _parts(name)
    with _explained(name):
        return content_digest(name, client().head_object(Bucket=bucket, Key=key)["ETag"])


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
    except S3_ERRORS as error:
        unreadable = s3_error_kind(error) in UNREADABLE_OBJECT
        raise (UnreadableFile if unreadable else StorageError)(f"cannot read {url}: {error}") from error
    except ValueError as error:
        raise UnreadableFile(f"cannot read {url}: {error}") from error


@cache
def client() -> Any:
    """Return the client that all reading threads share, one for each CPU. Raises ConfigError.

    The endpoint is COGENRE_S3_ENDPOINT_URL; where that is unset, boto3's own: AWS_ENDPOINT_URL_S3, or AWS.
    """
    return s3_client(connections=available_cpus(), limits=BOTO3_DEFAULTS, validate_responses=True)
