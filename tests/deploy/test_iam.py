"""The IAM policy of docs/security.md, enforced by an S3 server: sufficient for a worker and minimal."""

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
from worker.models.bundle_cache import fetch_bundle
from worker.queue.job_sources import DEFAULT_PATTERN, compile_pattern, jobs_from_prefix
from worker.settings import ModelSettings

PAGE = (ROOT / "docs" / "security.md").read_text()
KEY = "track.flac"

pytestmark = pytest.mark.heavy


def policy() -> dict[str, Any]:
    found = re.search(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    document: dict[str, Any] = json.loads(found[1].replace("AUDIO", "audio").replace("BUNDLES", "bundles"))
    return document


def without(statement: int, action: str) -> dict[str, Any]:
    """Return the policy without one action of one statement."""
    smaller = policy()
    actions = smaller["Statement"][statement]["Action"]
    left = [one for one in ([actions] if isinstance(actions, str) else actions) if one != action]
    if left:
        smaller["Statement"][statement]["Action"] = left
    else:
        del smaller["Statement"][statement]
    return smaller


EVERY_ACTION = [
    (at, action)
    for at, statement in enumerate(policy()["Statement"])
    for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
]


class Account:
    """Buckets and the worker's user on an S3 server that can enforce policies."""

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
        """Give this process the worker's keys, with this policy enforced."""
        # moto requires the action s3:HeadBucket, which AWS does not have: on AWS, ListBucket includes it.
        renamed = json.loads(
            json.dumps(document).replace('"s3:ListBucket"', '["s3:ListBucket", "s3:HeadBucket"]')
        )
        self._iam.put_user_policy(UserName="worker", PolicyName="worker", PolicyDocument=json.dumps(renamed))
        key = self._iam.create_access_key(UserName="worker")["AccessKey"]
        self.enforce(True)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it caches the keys

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
    """Run the S3 server in its own process, because enforcement applies to a whole process."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    moto = Path(sys.executable).with_name("moto_server")
    process = subprocess.Popen([moto, "-H", HOST, "-p", str(port)], stderr=subprocess.DEVNULL)

    def is_ready() -> bool:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()
        except OSError:
            return False
        return True

    try:
        wait_until(is_ready)
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


def use_s3_as_worker(
    account: Account, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Do everything that a worker and `cogenre enqueue` do in S3."""
    account.become_worker(document, monkeypatch)
    store = ObjectStore(StorageSettings.load(), connections=1, retry_seconds=0)
    store.check_buckets()
    for version in (None, account.version):
        opened = store.open(ObjectRef(bucket="audio", key=KEY, version_id=version), 100)
        assert store.read(opened) == b"sound"
    with pytest.raises(ObjectMissing):
        store.open(ObjectRef(bucket="audio", key="nowhere"), 100)
    (job,) = jobs_from_prefix(s3_client(), "audio", "", compile_pattern(DEFAULT_PATTERN), None)
    assert job.track_id == "track"
    monkeypatch.setenv("COGENRE_BUNDLE", account.bundle)
    monkeypatch.setenv("COGENRE_BUNDLE_CACHE", str(folder))
    assert (fetch_bundle(ModelSettings.load()) / "bundle.json").is_file()


def test_the_policy_is_sufficient_for_a_worker(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_s3_as_worker(account, policy(), monkeypatch, tmp_path)


@pytest.mark.parametrize(("statement", "action"), EVERY_ACTION)
def test_every_action_is_needed(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, statement: int, action: str
) -> None:
    with pytest.raises((ConfigError, StorageUnavailable, ClientError, BundleError)):
        use_s3_as_worker(account, without(statement, action), monkeypatch, tmp_path)


def test_a_worker_cannot_write_or_read_other_buckets(
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
