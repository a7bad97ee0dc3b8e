"""Errors of a single file, which leave out its track, and errors of disk or S3, which end the run."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from trainer.data.files import client, object_version, read_bytes
from trainer.errors import StorageError, UnreadableFile


@pytest.fixture(autouse=True)
def _new_client_for_each_test() -> Iterator[None]:
    client.cache_clear()
    yield
    client.cache_clear()


@pytest.mark.parametrize("name", ["missing.mp3", ".", "missing/1.mp3", "x" * 300])
def test_a_missing_file_is_unreadable(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"cannot read .*paths are relative to"):
        read_bytes(tmp_path, name)


def test_a_failing_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        read_bytes(tmp_path, "1.mp3")


@pytest.mark.usefixtures("stored_in_s3")
def test_a_missing_object_is_unreadable(tmp_path: Path, bucket: str) -> None:
    for read in (lambda url: read_bytes(tmp_path, url), object_version):
        with pytest.raises(UnreadableFile, match=r"cannot read s3://.*404"):
            read(f"s3://{bucket}/none.mp3")


@pytest.mark.usefixtures("stored_in_s3")
def test_a_failing_s3_is_a_storage_error(
    tmp_path: Path, bucket: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket, Key="1.mp3", Body=b"sound")
    assert read_bytes(tmp_path, f"s3://{bucket}/1.mp3") == b"sound"
    client.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match=r"cannot read s3://.*Could not connect"):
        read_bytes(tmp_path, f"s3://{bucket}/1.mp3")


@pytest.mark.usefixtures("stored_in_s3")
def test_expired_credentials_are_a_storage_error(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 400 to expired credentials. The local server checks none, so the answer is simulated."""

    def expired(**_: object) -> NoReturn:
        raise client().exceptions.ClientError(
            {"Error": {"Code": "ExpiredToken"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "HeadObject"
        )

    monkeypatch.setattr(client(), "head_object", expired)
    with pytest.raises(StorageError, match="ExpiredToken"):
        object_version(f"s3://{bucket}/1.mp3")
