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

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import S3TransferRetriesExceededError, TransferConfig  # type: ignore[attr-defined]
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from media.cpus import available_cpus
from trainer.data.digest import content_digest
from trainer.errors import StorageError, UnreadableFile

SCHEME = "s3://"
WHOLE = TransferConfig(use_threads=False, multipart_threshold=1 << 40)
"""One request an object: tracks are what is read side by side."""

ABSENT_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP}
ABSENT_OBJECT = {403, 404}
"""403 is what S3 says of an object that is not there to whoever may not list its bucket."""


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
    except (ParamValidationError, ValueError) as error:
        raise UnreadableFile(f"cannot read {url}: {error}") from error
    except ClientError as error:
        absent = error.response["ResponseMetadata"]["HTTPStatusCode"] in ABSENT_OBJECT
        raise (UnreadableFile if absent else StorageError)(f"cannot read {url}: {error}") from error
    except (BotoCoreError, Boto3Error, S3TransferRetriesExceededError) as error:
        raise StorageError(f"cannot read {url}: {error}") from error


@cache
def client() -> Any:
    """Set up as AWS's own tools are: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and so on."""
    config = Config(max_pool_connections=available_cpus())  # a thread each
    return boto3.session.Session().client("s3", config=config)
