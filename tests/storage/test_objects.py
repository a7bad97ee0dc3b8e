import time
from typing import Any

import pytest

from schemas.jobs import ObjectRef
from storage.errors import (
    BucketNotAllowed,
    ObjectChanged,
    ObjectMissing,
    ObjectTooLarge,
    ReadDeadlinePassed,
    StorageRefused,
    StorageUnavailable,
)
from storage.objects import ObjectStore
from storage.settings import StorageSettings
from tests.faulty_s3 import FaultyS3
from worker.local.stack import LocalStack


@pytest.fixture
def store(s3: Any) -> ObjectStore:
    return ObjectStore(StorageSettings.load(), connections=2, retry_seconds=0.1)


def put(s3: Any, bucket: str, key: str, content: bytes) -> ObjectRef:
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    return ObjectRef(bucket=bucket, key=key)


def test_read_returns_the_content(store: ObjectStore, s3: Any, bucket: str) -> None:
    content = bytes(range(256)) * 10_000
    opened = store.open(put(s3, bucket, "a/ü 1.bin", content), max_bytes=len(content))
    assert opened.size == len(content)
    assert store.read(opened) == content


def test_read_at_returns_a_part(store: ObjectStore, s3: Any, bucket: str) -> None:
    opened = store.open(put(s3, bucket, "parts", bytes(range(100))), 100)
    source = store.source(opened)
    assert source.size == 100
    assert source.read_at(10, 5) == bytes(range(10, 15))
    assert source.read_at(95, 10) == bytes(range(95, 100))
    assert source.read_at(100, 10) == source.read_at(50, 0) == b""
    put(s3, bucket, "parts", b"replaced")
    with pytest.raises(ObjectChanged):
        source.read_at(0, 1)


def test_an_empty_object_is_empty(store: ObjectStore, s3: Any, bucket: str) -> None:
    assert store.read(store.open(put(s3, bucket, "empty", b""), max_bytes=10)) == b""


def test_other_content_has_another_identity(store: ObjectStore, s3: Any, bucket: str) -> None:
    identities = {
        store.open(put(s3, bucket, "same", content), 10).identity for content in (b"one", b"two", b"one")
    }
    assert len(identities) == 2


def test_open_refuses_foreign_buckets_missing_and_large_objects(
    store: ObjectStore, s3: Any, bucket: str
) -> None:
    with pytest.raises(BucketNotAllowed, match="other-bucket"):
        store.open(ObjectRef(bucket="other-bucket", key="k"), 10)
    with pytest.raises(ObjectMissing, match="nowhere does not exist"):
        store.open(ObjectRef(bucket=bucket, key="nowhere"), 10)
    with pytest.raises(ObjectTooLarge, match="has 11 bytes; at most 10"):
        store.open(put(s3, bucket, "large", b"x" * 11), 10)


def test_a_read_of_a_replaced_object_fails(store: ObjectStore, s3: Any, bucket: str) -> None:
    opened = store.open(put(s3, bucket, "moving", b"first"), 10)
    put(s3, bucket, "moving", b"later")
    with pytest.raises(ObjectChanged):
        store.read(opened)


def test_a_pinned_version_is_read_even_when_there_is_a_newer(
    store: ObjectStore, s3: Any, bucket: str
) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    try:
        version = s3.put_object(Bucket=bucket, Key="versioned", Body=b"first")["VersionId"]
        put(s3, bucket, "versioned", b"later")
        opened = store.open(ObjectRef(bucket=bucket, key="versioned", version_id=version), 10)
        assert store.read(opened) == b"first"
        with pytest.raises(ObjectMissing, match="in version"):
            store.open(ObjectRef(bucket=bucket, key="versioned", version_id="no-such-version"), 10)
    finally:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


def test_a_version_that_is_a_delete_marker_is_missing(store: ObjectStore, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    try:
        put(s3, bucket, "deleted", b"x")
        marker = s3.delete_object(Bucket=bucket, Key="deleted")["VersionId"]
        with pytest.raises(ObjectMissing, match="in version"):
            store.open(ObjectRef(bucket=bucket, key="deleted", version_id=marker), 10)
    finally:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


@pytest.mark.parametrize(
    ("status", "error", "min_requests", "max_requests"),
    [(403, StorageRefused, 1, 1), (400, StorageRefused, 1, 2), (503, StorageUnavailable, 4, 99),
     (429, StorageUnavailable, 2, 99)],
)  # fmt: skip
def test_only_temporary_errors_are_retried(
    stack: LocalStack, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch,
    status: int, error: type[Exception], min_requests: int, max_requests: int,
) -> None:  # fmt: skip
    ref = put(s3, bucket, "refused", b"x")
    with FaultyS3(stack.s3_port).serving() as faulty:
        monkeypatch.setenv("COGENRE_S3_ENDPOINT_URL", faulty.url)
        store = ObjectStore(StorageSettings.load(), connections=1, retry_seconds=2)
        faulty.status = status
        faulty.down.set()
        with pytest.raises(error):
            store.open(ref, 10)
        assert min_requests <= faulty.refused <= max_requests


def test_a_read_ends_at_its_deadline_however_slowly_the_bytes_arrive(
    stack: LocalStack, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = put(s3, bucket, "slow", bytes(10_000))
    with FaultyS3(stack.s3_port).serving() as faulty:
        monkeypatch.setenv("COGENRE_S3_ENDPOINT_URL", faulty.url)
        store = ObjectStore(StorageSettings.load(), connections=1, retry_seconds=2)
        opened = store.open(ref, 10_000)
        faulty.trickle.set()
        for deadline in (time.monotonic() + 0.3, time.monotonic() - 1):
            with pytest.raises(ReadDeadlinePassed, match="slow was not read before the deadline"):
                store.source(opened, deadline).read_at(0, 9_000)


def test_an_interrupted_read_resumes(
    store: ObjectStore, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 100
    opened = store.open(put(s3, bucket, "broken", content), len(content))
    client = store._client
    whole_get = client.get_object
    asked: list[str] = []

    def cut_once(**request: Any) -> Any:
        asked.append(request["Range"])
        if len(asked) == 1:  # the connection dies in the middle: no server does so on request
            return whole_get(**request | {"Range": "bytes=0-999"})
        return whole_get(**request)

    monkeypatch.setattr(client, "get_object", cut_once)
    patient = ObjectStore(StorageSettings.load(), connections=1, retry_seconds=10)
    patient._client = client
    assert patient.read(opened) == content
    assert asked == ["bytes=0-25599", "bytes=1000-25599"]


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch, s3: Any) -> None:
    monkeypatch.setenv("COGENRE_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    store = ObjectStore(StorageSettings.load(), connections=1, retry_seconds=0.1)
    with pytest.raises(StorageUnavailable):
        store.open(ObjectRef(bucket="cogenre-local", key="k"), 10)
