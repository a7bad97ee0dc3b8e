"""Push and pull of bundles: each version is written once, and appears complete or not at all."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from schemas.bundle import artefact_sha256, read_bundle
from schemas.errors import BundleError
from storage.bundles import pull, push, split_url
from tests.conftest import DEMO_BUNDLE
from worker.models.model import Model
from worker.settings import ModelSettings


@pytest.fixture
def prefix(bucket: str, tmp_path: Path) -> str:
    """An S3 URL that no other test writes to."""
    return f"s3://{bucket}/{tmp_path.name}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO_BUNDLE, tmp_path / "bundle"))


class Recorder:
    """A client that records the files that it copies, and fails at the file number `fails_at`."""

    def __init__(self, client: Any, fails_at: int | None = None) -> None:
        self._client = client
        self._fails_at = fails_at
        self.uploads: list[str] = []
        self.downloads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def upload_file(self, file: str, *arguments: Any, **options: Any) -> None:
        self._fail(self.uploads)
        self._client.upload_file(file, *arguments, **options)
        self.uploads.append(Path(file).name)

    def download_file(self, bucket: str, key: str, file: str) -> None:
        self._fail(self.downloads)
        self._client.download_file(bucket, key, file)
        self.downloads.append(Path(file).name)

    def _fail(self, done: list[str]) -> None:
        if len(done) == self._fails_at:
            raise ConnectionResetError("connection lost")


def objects(s3: Any, url: str) -> set[str]:
    bucket, place = split_url(url)
    return {
        Path(found["Key"]).name
        for found in s3.list_objects_v2(Bucket=bucket, Prefix=place).get("Contents", [])
    }


def test_pull_returns_what_push_uploaded(s3: Any, prefix: str, tmp_path: Path) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    manifest = read_bundle(DEMO_BUNDLE)
    assert url == f"{prefix}/{manifest.name}/{manifest.version}"
    assert pull(s3, url, tmp_path / "deep" / "down") == manifest
    assert artefact_sha256(tmp_path / "deep" / "down") == artefact_sha256(DEMO_BUNDLE)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["down"]


def test_an_interrupted_push_continues(s3: Any, prefix: str) -> None:
    files = set(read_bundle(DEMO_BUNDLE).files)
    first = Recorder(s3, fails_at=1)
    with pytest.raises(BundleError, match="connection lost"):
        push(first, DEMO_BUNDLE, prefix)
    assert "bundle.json" not in objects(s3, prefix)
    second = Recorder(s3)
    push(second, DEMO_BUNDLE, prefix)
    assert not set(first.uploads) & set(second.uploads)
    assert {*first.uploads, *second.uploads} == files
    third = Recorder(s3)
    push(third, DEMO_BUNDLE, prefix)
    assert not third.uploads


def test_an_interrupted_pull_continues(s3: Any, prefix: str, tmp_path: Path) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    target, partial = tmp_path / "out", tmp_path / ".out.partial"
    first = Recorder(s3, fails_at=3)
    with pytest.raises(BundleError, match="connection lost"):
        pull(first, url, target)
    assert not target.exists()
    (partial / first.downloads[-1]).write_bytes(b"damaged since")
    (partial / "model.onnx.e7B1").write_bytes(b"boto3 was killed")
    second = Recorder(s3)
    pull(second, url, target)
    assert sorted(first.downloads[:2] + second.downloads[1:]) == sorted(
        ["bundle.json", *read_bundle(DEMO_BUNDLE).files]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (target / "model.onnx.e7B1").exists()


def test_concurrent_pulls_wait_for_each_other(s3: Any, prefix: str, tmp_path: Path) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    begun, go_on = Event(), Event()

    class Slow(Recorder):
        def download_file(self, bucket: str, key: str, file: str) -> None:
            begun.set()
            assert go_on.wait(60)
            super().download_file(bucket, key, file)

    second = Recorder(s3)
    with ThreadPoolExecutor() as pool:
        winner = pool.submit(pull, Slow(s3), url, tmp_path / "out")
        assert begun.wait(60)
        loser = pool.submit(pull, second, url, tmp_path / "out")
        with pytest.raises(TimeoutError):
            loser.result(0.5)
        go_on.set()
        assert winner.result(60) == read_bundle(DEMO_BUNDLE)
        with pytest.raises(BundleError, match="exists"):
            loser.result(60)
    assert not second.downloads
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_version_is_written_once(s3: Any, prefix: str, copy: Path) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["thresholds"][0] = 0.123
    (copy / "bundle.json").write_text(json.dumps(manifest))
    recorder = Recorder(s3)
    with pytest.raises(BundleError, match="export with a new version"):
        push(recorder, copy, prefix)
    assert not recorder.uploads
    bucket, place = split_url(url)
    kept = s3.get_object(Bucket=bucket, Key=f"{place}/bundle.json")["Body"].read()
    assert kept == (DEMO_BUNDLE / "bundle.json").read_bytes()


def test_of_two_concurrent_pushes_one_succeeds(s3: Any, prefix: str, copy: Path) -> None:
    class Late(Recorder):
        def put_object(self, **request: Any) -> None:
            push(s3, DEMO_BUNDLE, prefix)
            s3.put_object(**request)

    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["thresholds"][0] = 0.123
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="export with a new version"):
        push(Late(s3), copy, prefix)


def test_a_damaged_bundle_is_neither_pushed_nor_pulled(
    s3: Any, prefix: str, copy: Path, tmp_path: Path
) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    bucket, place = split_url(url)
    s3.put_object(Bucket=bucket, Key=f"{place}/tokenizer.json", Body=b"{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json is not the file"):
        pull(s3, url, tmp_path / "out")
    s3.delete_object(Bucket=bucket, Key=f"{place}/tokenizer.json")
    with pytest.raises(BundleError, match="cannot copy"):
        pull(s3, url, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        push(s3, copy, f"{prefix}/elsewhere")


def test_pull_refuses_an_existing_folder(s3: Any, prefix: str, tmp_path: Path) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    with pytest.raises(BundleError, match="exists"):
        pull(s3, url, tmp_path)


@pytest.mark.parametrize("url", ["", "bundle", "s3://", "s3:///x", "s3://b/../x", "s3://b/x//y"])
def test_urls_that_are_not_of_bundles(url: str) -> None:
    with pytest.raises(BundleError, match="write s3://bucket/prefix"):
        split_url(url)


def test_bucket_and_prefix_of_a_url() -> None:
    assert split_url("s3://models") == ("models", "")
    assert split_url("s3://models/genres/1.0/") == ("models", "genres/1.0")


def test_the_worker_pulls_a_bundle_once(
    s3: Any, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = push(s3, DEMO_BUNDLE, prefix)
    settings = ModelSettings(bundle=url, bundle_cache=tmp_path / "cache")
    assert Model(settings).manifest == read_bundle(DEMO_BUNDLE)
    monkeypatch.setenv("COGENRE_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    assert Model(settings).manifest == read_bundle(DEMO_BUNDLE)


def test_the_worker_names_the_bundle_that_it_cannot_pull(s3: Any, prefix: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"{prefix}/none/1"):
        Model(ModelSettings(bundle=f"{prefix}/none/1", bundle_cache=tmp_path / "cache"))
