"""What is a file's own fault, and what is not."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from trainer.data.files import client, read_bytes, version_of
from trainer.errors import StorageError, UnreadableFile


@pytest.fixture(autouse=True)
def _other_servers_other_clients() -> Iterator[None]:
    client.cache_clear()
    yield
    client.cache_clear()


@pytest.mark.parametrize("name", ["missing.mp3", ".", "missing/1.mp3", "x" * 300])
def test_a_file_that_is_not_there_is_to_blame(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"cannot read .*paths are relative to"):
        read_bytes(tmp_path, name)


def test_a_disk_that_fails_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        read_bytes(tmp_path, "1.mp3")


@pytest.mark.usefixtures("stored_in_s3")
def test_an_object_that_is_not_there_is_to_blame(tmp_path: Path, bucket: str) -> None:
    for read in (lambda url: read_bytes(tmp_path, url), version_of):
        with pytest.raises(UnreadableFile, match=r"cannot read s3://.*404"):
            read(f"s3://{bucket}/none.mp3")


@pytest.mark.usefixtures("stored_in_s3")
def test_an_s3_that_fails_is_not_the_objects_fault(
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
def test_credentials_that_have_expired_are_not_the_objects_fault(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 400 then; the local server knows no credentials."""

    def expired(**_: object) -> NoReturn:
        raise client().exceptions.ClientError(
            {"Error": {"Code": "ExpiredToken"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "HeadObject"
        )

    monkeypatch.setattr(client(), "head_object", expired)
    with pytest.raises(StorageError, match="ExpiredToken"):
        version_of(f"s3://{bucket}/1.mp3")
