"""Objects in S3: bounded in size, pinned to what was opened, read in part or whole, resumed after a break."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import botocore.exceptions
import tenacity
import urllib3.exceptions

from schemas.errors import ConfigError
from schemas.jobs import ObjectRef
from storage.client import s3_client
from storage.errors import (
    BucketNotAllowed,
    ObjectChanged,
    ObjectMissing,
    ObjectTooLarge,
    ReadDeadlinePassed,
    StorageRefuses,
    StorageUnavailable,
)
from storage.settings import StorageSettings

# What names a delete marker is not allowed: "405", where the answer has no body that says so.
MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "405", "MethodNotAllowed"})
CHANGED = frozenset({"412", "PreconditionFailed"})
FORBIDDEN = frozenset({"403", "AccessDenied"})
SERVER_FAULT, TOO_MANY_REQUESTS = 500, 429
CHUNK_BYTES = 1 << 20

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
        """The same wherever the same bytes lie: S3's ETag is a digest of them."""
        return f"{self.etag}:{self.size}"


@dataclass(frozen=True)
class StoredSource:
    """A `media.source.Source`: an object that is read piece by piece."""

    store: "ObjectStore"
    opened: StoredObject
    deadline: float
    """Of time.monotonic(): nothing is read after it."""

    @property
    def size(self) -> int:
        return self.opened.size

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises ObjectMissing, ObjectChanged, StorageUnavailable, ReadDeadlinePassed."""
        return self.store.read(self.opened, offset, length, self.deadline)


class ObjectStore:
    """Reads objects of the allowed buckets. Safe to share between threads.

    Faults that pass (no answer, 5xx, 429) are tried again for `patience` seconds, with growing, jittered
    waits.
    """

    def __init__(self, settings: StorageSettings, connections: int, patience: float) -> None:
        self._buckets = frozenset(settings.buckets)
        self._client: Any = s3_client(settings, connections)
        self._patience = patience

    def check(self) -> None:
        """Raises ConfigError for an allowed bucket that S3 says is not there, or not ours to read.

        An S3 that does not answer is no reason not to start: it will.
        """
        for bucket in sorted(self._buckets):
            try:
                self._client.head_bucket(Bucket=bucket)
            except botocore.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code in MISSING:
                    raise ConfigError(f"there is no bucket {bucket}: check COGENRE_BUCKETS") from error
                if code in FORBIDDEN:
                    raise ConfigError(
                        f"bucket {bucket} may not be read: check the S3 credentials and COGENRE_BUCKETS"
                    ) from error
            except botocore.exceptions.NoCredentialsError as error:
                raise ConfigError("no S3 credentials: set AWS_ACCESS_KEY_ID or a role") from error
            except botocore.exceptions.BotoCoreError as error:
                log.warning("bucket %s not checked: %s", bucket, error)

    def open(self, ref: ObjectRef, max_bytes: int) -> StoredObject:
        """Raises BucketNotAllowed, ObjectMissing, ObjectTooLarge, StorageUnavailable."""
        if ref.bucket not in self._buckets:
            raise BucketNotAllowed(f"bucket {ref.bucket} is not among those allowed (COGENRE_BUCKETS)")
        version = {"VersionId": ref.version_id} if ref.version_id else {}
        head = self._patiently(
            ref, lambda: self._client.head_object(Bucket=ref.bucket, Key=ref.key, **version)
        )
        opened = StoredObject(ref, head["ETag"].strip('"'), head["ContentLength"])
        if opened.size > max_bytes:
            raise ObjectTooLarge(f"s3://{ref.bucket}/{ref.key} has {opened.size} bytes; at most {max_bytes}")
        return opened

    def source(self, opened: StoredObject, deadline: float = math.inf) -> StoredSource:
        """The object, to be read piece by piece until `deadline`, of time.monotonic()."""
        return StoredSource(self, opened, deadline)

    def read(
        self, opened: StoredObject, offset: int = 0, length: int | None = None, deadline: float = math.inf
    ) -> bytes:
        """`length` bytes from `offset` on, or all. A read that breaks off goes on where it stopped.

        Raises ObjectMissing, ObjectChanged, StorageUnavailable; ReadDeadlinePassed after `deadline`, of
        time.monotonic(), however slowly the bytes arrive.
        """
        end = opened.size if length is None else min(offset + length, opened.size)
        content = bytearray()
        if offset < end:
            self._patiently(opened.ref, lambda: self._read_rest(opened, offset, end, content, deadline))
        return bytes(content)

    def _read_rest(
        self, opened: StoredObject, offset: int, end: int, content: bytearray, deadline: float
    ) -> None:
        ref = opened.ref
        _in_time(ref, deadline)
        body = self._client.get_object(
            Bucket=ref.bucket,
            Key=ref.key,
            IfMatch=f'"{opened.etag}"',
            Range=f"bytes={offset + len(content)}-{end - 1}",
            **({"VersionId": ref.version_id} if ref.version_id else {}),
        )["Body"]
        with body as stream:
            # read1() returns what has arrived; read() would wait for all of a chunk, a byte a second too.
            while len(content) < end - offset and (chunk := stream.read1(CHUNK_BYTES)):
                content += chunk
                _in_time(ref, deadline)
        if len(content) < end - offset:
            raise StorageUnavailable(f"s3://{ref.bucket}/{ref.key} broke off after {len(content)} bytes")

    def _patiently(self, ref: ObjectRef, call: Callable[[], Result]) -> Result:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageUnavailable)
            & tenacity.retry_if_not_exception_type(StorageRefuses),
            stop=tenacity.stop_after_delay(self._patience),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        return retrying(lambda: _translated(ref, call))


def _translated(ref: ObjectRef, call: Callable[[], Result]) -> Result:
    """boto3's errors in our own names."""
    where = f"s3://{ref.bucket}/{ref.key}"
    try:
        return call()
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code in MISSING:
            raise ObjectMissing(
                f"{where} does not exist" + (f" in version {ref.version_id}" if ref.version_id else "")
            ) from error
        if code in CHANGED:
            raise ObjectChanged(f"{where} was replaced while it was read") from error
        if code in FORBIDDEN:
            raise StorageRefuses(
                f"{where}: access denied: check the worker's S3 credentials (without s3:ListBucket, S3 "
                "says so of a key that does not exist too)"
            ) from error
        raise (StorageRefuses if refuses(error) else StorageUnavailable)(f"{where}: {error}") from error
    except (botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError) as error:
        raise StorageUnavailable(f"{where}: {error}") from error


def _in_time(ref: ObjectRef, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ReadDeadlinePassed(f"s3://{ref.bucket}/{ref.key} was not read in the time that a track has")


def refuses(error: botocore.exceptions.ClientError) -> bool:
    """Whether S3 will answer so in a second too."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status < SERVER_FAULT and status != TOO_MANY_REQUESTS
