"""Read the files of a library from disk, or from S3 by URL.

UnreadableFile is raised for a file that does not exist or may not be read; its track is left out.
StorageError is raised if the disk or S3 fails; it ends the run, which would otherwise leave out every track.
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
from trainer.errors import ManifestError, StorageError, UnreadableFile

SCHEME = "s3://"
SINGLE_REQUEST = TransferConfig(use_threads=False, multipart_threshold=1 << 40)
"""Downloads an object in one request. Several objects are downloaded in parallel instead."""

UNREADABLE_FILE_ERRNOS = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
UNREADABLE_OBJECT_ERRORS = {S3ErrorKind.MISSING, S3ErrorKind.FORBIDDEN, S3ErrorKind.INVALID_REQUEST}
"""FORBIDDEN: without s3:ListBucket, S3 answers 403 for an object that does not exist."""


def is_url(name: str) -> bool:
    """Return whether `name` is an s3:// URL, and not a path."""
    return name.startswith(SCHEME)


def read_bytes(folder: Path, name: str) -> bytes:
    """Return the content of a file. `name` is an s3:// URL, or a path relative to `folder`.

    Raises UnreadableFile, StorageError.
    """
    if is_url(name):
        return _read_object(name)
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        message = f"cannot read {name} ({error.strerror}): paths are relative to {folder}"
        raise (UnreadableFile if error.errno in UNREADABLE_FILE_ERRNOS else StorageError)(message) from error


def object_version(name: str) -> str | None:
    """Return a digest of the URL and ETag of an object in S3; None if `name` is a path.

    Raises UnreadableFile, StorageError.
    """
    if not is_url(name):
        return None
    bucket, key = _bucket_and_key(name)
    with _explain_errors(name):
        return content_digest(name, client().head_object(Bucket=bucket, Key=key)["ETag"])


def _read_object(url: str) -> bytes:
    content = io.BytesIO()
    with _explain_errors(url):
        # Unlike get_object, download_fileobj retries if the connection breaks during the download.
        client().download_fileobj(*_bucket_and_key(url), content, Config=SINGLE_REQUEST)
    return content.getvalue()


def _bucket_and_key(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    return bucket, key


@contextmanager
def _explain_errors(url: str) -> Iterator[None]:
    """Turn errors of S3 and boto3 into UnreadableFile or StorageError."""
    try:
        yield
    except S3_ERRORS as error:
        unreadable = s3_error_kind(error) in UNREADABLE_OBJECT_ERRORS
        raise (UnreadableFile if unreadable else StorageError)(f"cannot read {url}: {error}") from error
    except ValueError as error:
        raise UnreadableFile(f"cannot read {url}: {error}") from error


@cache
def client() -> Any:
    """Return the client that all reading threads share, one for each CPU. Raises ConfigError.

    The endpoint is COGENRE_S3_ENDPOINT_URL; if unset, AWS_ENDPOINT_URL_S3; if that is unset too, AWS.
    """
    return s3_client(connections=available_cpus(), limits=BOTO3_DEFAULTS, validate_responses=True)


@contextmanager
def table_errors(path: Path) -> Iterator[None]:
    """Raise errors of reading the text table `path` as ManifestError."""
    try:
        yield
    except OSError as error:
        raise ManifestError(f"cannot read {path} ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 text") from error
