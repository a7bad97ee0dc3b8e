"""The IAM policy of docs/security.md, enforced by an S3 server: enough for a worker, and no more."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from schemas.errors import BundleError, ConfigError
from schemas.jobs import ObjectRef
from storage.bundles import push
from storage.client import s3_client
from storage.errors import ObjectMissing, StorageUnavailable
from storage.objects import ObjectStore
from storage.settings import StorageSettings
from tests.conftest import DEMO_BUNDLE, ROOT
from tests.worker.processes import wait_until
from worker.local.stack import HOST, free_port
from worker.models.bundle_cache import local_bundle
from worker.queue.job_sources import DEFAULT_PATTERN, compile_pattern, jobs_from_prefix
from worker.settings import ModelSettings

PAGE = (ROOT / "docs" / "security.md").read_text()
KEY = "track.flac"

pytestmark = pytest.mark.heavy


def policy() -> dict[str, Any]:
    found = re.search(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    read: dict[str, Any] = json.loads(found[1].replace("AUDIO", "audio").replace("BUNDLES", "bundles"))
    return read


def without(statement: int, action: str) -> dict[str, Any]:
    """The policy, less one action."""
    smaller = policy()
    actions = smaller["Statement"][statement]["Action"]
    left = [one for one in ([actions] if isinstance(actions, str) else actions) if one != action]
    if left:
        smaller["Statement"][statement]["Action"] = left
    else:
        del smaller["Statement"][statement]
    return smaller


EVERY_LINE = [
    (at, action)
    for at, statement in enumerate(policy()["Statement"])
    for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
]


class Account:
    """An S3 server that enforces policies once it is told to, and the worker's user on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.enforce(False)
        self.owner = boto3.client("s3", endpoint_url=url)
        self._iam = boto3.client("iam", endpoint_url=url)
        for bucket in ("audio", "bundles", "other"):
            self.owner.create_bucket(Bucket=bucket)
            self.owner.put_object(Bucket=bucket, Key=KEY, Body=b"sound")
        self.owner.put_bucket_versioning(Bucket="audio", VersioningConfiguration={"Status": "Enabled"})
        self.version = self.owner.put_object(Bucket="audio", Key=KEY, Body=b"sound")["VersionId"]
        self.bundle = push(self.owner, DEMO_BUNDLE, "s3://bundles/models")
        self._iam.create_user(UserName="worker")

    def become_worker(self, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on this process has the worker's keys, and they have this policy."""
        # moto asks for an action of this name, which AWS does not have: there, ListBucket covers it.
        renamed = json.loads(
            json.dumps(document).replace('"s3:ListBucket"', '["s3:ListBucket", "s3:HeadBucket"]')
        )
        self._iam.put_user_policy(UserName="worker", PolicyName="worker", PolicyDocument=json.dumps(renamed))
        key = self._iam.create_access_key(UserName="worker")["AccessKey"]
        self.enforce(True)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys that it found first

    def enforce(self, enforced: bool) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth",
            data=b"0" if enforced else b"inf",
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """In a process of its own: enforcement holds for all of it."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    moto = Path(sys.executable).with_name("moto_server")
    process = subprocess.Popen([moto, "-H", HOST, "-p", str(port)], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()
        except OSError:
            return False
        return True

    try:
        wait_until(answers)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def account(server: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "owner",
        "AWS_SECRET_ACCESS_KEY": "owner",
        "AWS_DEFAULT_REGION": "us-east-1",
        "COGENRE_S3_ENDPOINT_URL": server,
        "COGENRE_BUCKETS": "audio",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    urllib.request.urlopen(
        urllib.request.Request(f"{server}/moto-api/reset", data=b"", method="POST"), timeout=10
    ).close()
    return Account(server)


def as_worker(
    account: Account, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """All that a worker, and `cogenre enqueue`, do in S3."""
    account.become_worker(document, monkeypatch)
    store = ObjectStore(StorageSettings.load(), connections=1, retry_seconds=0)
    store.check()
    for version in (None, account.version):
        opened = store.open(ObjectRef(bucket="audio", key=KEY, version_id=version), 100)
        assert store.read(opened) == b"sound"
    with pytest.raises(ObjectMissing):
        store.open(ObjectRef(bucket="audio", key="nowhere"), 100)
    (job,) = jobs_from_prefix(s3_client(), "audio", "", compile_pattern(DEFAULT_PATTERN), None)
    assert job.track_id == "track"
    monkeypatch.setenv("COGENRE_BUNDLE", account.bundle)
    monkeypatch.setenv("COGENRE_BUNDLE_CACHE", str(folder))
    assert (local_bundle(ModelSettings.load()) / "bundle.json").is_file()


def test_the_policy_is_enough_for_a_worker(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_worker(account, policy(), monkeypatch, tmp_path)


@pytest.mark.parametrize(("statement", "action"), EVERY_LINE)
def test_every_line_of_it_is_needed(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, statement: int, action: str
) -> None:
    with pytest.raises((ConfigError, StorageUnavailable, ClientError, BundleError)):
        as_worker(account, without(statement, action), monkeypatch, tmp_path)


def test_a_worker_changes_nothing_and_reads_no_other_bucket(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.become_worker(policy(), monkeypatch)
    s3 = s3_client()
    attempts: list[Callable[[], object]] = [
        lambda: s3.put_object(Bucket="audio", Key=KEY, Body=b""),
        lambda: s3.delete_object(Bucket="audio", Key=KEY),
        lambda: s3.put_object(Bucket="bundles", Key=KEY, Body=b""),
        lambda: s3.get_object(Bucket="other", Key=KEY),
        lambda: s3.list_objects_v2(Bucket="other"),
        lambda: s3.list_buckets(),
        lambda: s3.put_bucket_policy(Bucket="audio", Policy="{}"),
    ]
    for attempt in attempts:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
