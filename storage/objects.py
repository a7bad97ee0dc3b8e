"""Reads objects in S3: bounded in size, pinned to the ETag, whole or in part, resumed after interruptions."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from schemas.errors import ConfigError
from schemas.jobs import ObjectRef
from storage.client import S3_ERRORS, S3ErrorKind, s3_client, s3_error_kind
from storage.errors import (
    BucketNotAllowed,
    ObjectChanged,
    ObjectMissing,
    ObjectTooLarge,
    ReadDeadlinePassed,
    StorageRefused,
    StorageUnavailable,
)
from storage.retry import retrying
from storage.settings import StorageSettings

CHUNK_BYTES = 1 << 20
"""Maximum number of bytes read from a response at once."""

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredObject:
    """An object as it was when it was opened."""

    ref: ObjectRef
    etag: str
    size: int
    """Bytes."""

    @property
    def identity(self) -> str:
        """Key of the content, independent of the object's bucket and key: S3's ETag is a digest of it."""
        return f"{self.etag}:{self.size}"


@dataclass(frozen=True)
class StoredSource:
    """An object as a `media.source.Source`, which is read piece by piece."""

    store: "ObjectStore"
    opened: StoredObject
    deadline: float
    """In seconds of time.monotonic(). Reads after it raise ReadDeadlinePassed."""

    @property
    def size(self) -> int:
        return self.opened.size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes as `ObjectStore.read` does, and raise its errors."""
        return self.store.read(self.opened, offset, length, self.deadline)


class ObjectStore:
    """Reads objects of the allowed buckets. Safe to share between threads.

    Temporary errors (no answer, 5xx, 429) are retried for `retry_seconds`, with growing, jittered waits.
    """

    def __init__(self, settings: StorageSettings, connections: int, retry_seconds: float) -> None:
        self._buckets = frozenset(settings.buckets)
        self._client: Any = s3_client(settings, connections)
        self._retry_seconds = retry_seconds

    def check_buckets(self) -> None:
        """Check that each allowed bucket exists and may be read. Raises ConfigError.

        If S3 does not answer, that is only logged, and the worker starts anyway.
        """
        for bucket in sorted(self._buckets):
            try:
                self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                kind = s3_error_kind(error)
                if kind is S3ErrorKind.MISSING:
                    raise ConfigError(f"bucket {bucket} does not exist: check COGENRE_BUCKETS") from error
                if kind is S3ErrorKind.FORBIDDEN:
                    raise ConfigError(
                        f"bucket {bucket} may not be read: check the S3 credentials and COGENRE_BUCKETS"
                    ) from error
            except NoCredentialsError as error:
                raise ConfigError("no S3 credentials: set AWS_ACCESS_KEY_ID or a role") from error
            except BotoCoreError as error:
                log.warning(
                    "bucket %s was not checked, because S3 did not answer: %s; the worker starts anyway",
                    bucket,
                    error,
                )

    def open(self, ref: ObjectRef, max_bytes: int) -> StoredObject:
        """Return the object's ETag and size, without reading it.

        Raises BucketNotAllowed, ObjectMissing, ObjectTooLarge, StorageUnavailable.
        """
        if ref.bucket not in self._buckets:
            raise BucketNotAllowed(f"bucket {ref.bucket} is not listed in COGENRE_BUCKETS")
        version = {"VersionId": ref.version_id} if ref.version_id else {}
        head = self._with_retries(
            ref, lambda: self._client.head_object(Bucket=ref.bucket, Key=ref.key, **version)
        )
        opened = StoredObject(ref, head["ETag"].strip('"'), head["ContentLength"])
        if opened.size > max_bytes:
            raise ObjectTooLarge(f"s3://{ref.bucket}/{ref.key} has {opened.size} bytes; at most {max_bytes}")
        return opened

    def source(self, opened: StoredObject, deadline: float = math.inf) -> StoredSource:
        """Return the object as a source, which may be read until `deadline` (of time.monotonic())."""
        return StoredSource(self, opened, deadline)

    def read(
        self, opened: StoredObject, offset: int = 0, length: int | None = None, deadline: float = math.inf
    ) -> bytes:
        """Return `length` bytes from `offset`, or the rest. An interrupted read resumes where it stopped.

        Raises ObjectMissing, ObjectChanged, StorageUnavailable; ReadDeadlinePassed after `deadline` (of
        time.monotonic()), even while bytes are still arriving.
        """
        end = opened.size if length is None else min(offset + length, opened.size)
        content = bytearray()
        if offset < end:
            self._with_retries(opened.ref, lambda: self._read_rest(opened, offset, end, content, deadline))
        return bytes(content)

    def _read_rest(
        self, opened: StoredObject, offset: int, end: int, content: bytearray, deadline: float
    ) -> None:
        """Append to `content` the bytes from `offset` to `end` that it does not contain yet."""
        ref = opened.ref
        _check_deadline(ref, deadline)
        body = self._client.get_object(
            Bucket=ref.bucket,
            Key=ref.key,
            IfMatch=f'"{opened.etag}"',
            Range=f"bytes={offset + len(content)}-{end - 1}",
            **({"VersionId": ref.version_id} if ref.version_id else {}),
        )["Body"]
        with body as stream:
            # read1() returns what has arrived. read() would block until a whole chunk has arrived, however
            # slowly, and the deadline would not be checked.
            while len(content) < end - offset and (chunk := stream.read1(CHUNK_BYTES)):
                content += chunk
                _check_deadline(ref, deadline)
        if len(content) < end - offset:
            raise StorageUnavailable(
                f"s3://{ref.bucket}/{ref.key}: the answer ended after {len(content)} of {end - offset} bytes"
            )

    def _with_retries(self, ref: ObjectRef, call: Callable[[], Result]) -> Result:
        return retrying(_is_temporary, self._retry_seconds)(lambda: _translate_errors(ref, call))


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, StorageUnavailable) and not isinstance(error, StorageRefused)


def _translate_errors(ref: ObjectRef, call: Callable[[], Result]) -> Result:
    """Return the result of `call`. Raise boto3's errors as errors of `storage.errors`."""
    try:
        return call()
    except S3_ERRORS as error:
        where, kind = f"s3://{ref.bucket}/{ref.key}", s3_error_kind(error)
        if kind is S3ErrorKind.MISSING:
            raise ObjectMissing(
                f"{where} does not exist" + (f" in version {ref.version_id}" if ref.version_id else "")
            ) from error
        if kind is S3ErrorKind.PRECONDITION_FAILED:
            raise ObjectChanged(f"{where} was replaced while it was being read") from error
        if kind is S3ErrorKind.FORBIDDEN:
            raise StorageRefused(
                f"{where}: {error}: check the worker's S3 credentials (if they lack s3:ListBucket, "
                "S3 also denies access to keys that do not exist)"
            ) from error
        refused = kind is S3ErrorKind.REFUSED
        raise (StorageRefused if refused else StorageUnavailable)(f"{where}: {error}") from error


def _check_deadline(ref: ObjectRef, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ReadDeadlinePassed(f"s3://{ref.bucket}/{ref.key} was not read before the deadline of its track")
