"""The compose file: valid, safe defaults, and its upload and enqueue commands run on the local stack."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from importlib import metadata
from typing import Any

import pytest
import redis
from jsonschema import Draft201909Validator

from schemas.jobs import QUEUE_TRACKS
from tests.conftest import DEMO_BUNDLE, ROOT
from tests.deploy.manifests import COMPOSE, compose, stages
from worker.local.stack import HOST, LocalStack
from worker.settings import WorkerSettings

SCHEMA = ROOT / "tests" / "deploy" / "compose_spec.json"
"""The schema of the compose specification, from docker-compose 1.29.2 (Apache-2.0)."""

SERVICES: dict[str, Any] = compose()["services"]


def test_follows_the_specification() -> None:
    document = compose()
    assert document.pop("name") == "cogenre"  # the schema does not have this field yet
    errors = Draft201909Validator(json.loads(SCHEMA.read_text())).iter_errors(document)
    assert [f"{list(error.path)}: {error.message}" for error in errors] == []


def test_docker_compose_accepts_it() -> None:
    client = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*client, "version"], capture_output=True).returncode:
        pytest.skip("`docker compose` is not installed")
    done = subprocess.run([*client, "--file", COMPOSE, "config", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_redis_persists_and_does_not_evict() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if "build" in one])
def test_build_targets_exist_in_the_dockerfile(name: str) -> None:
    build = SERVICES[name]["build"]
    assert build["target"] in stages()
    context = (COMPOSE.parent / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
    assert SERVICES[name]["read_only"]
    assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_every_image_is_pinned_to_a_version() -> None:
    for name, service in SERVICES.items():
        _, _, tag = service["image"].partition(":")
        assert any(character.isdigit() for character in tag), name


def test_the_s3_server_is_the_one_of_the_tests(stack: LocalStack) -> None:
    name, _, tag = SERVICES["s3"]["image"].partition(":")
    assert (name, tag) == ("motoserver/moto", metadata.version("moto"))
    check = " ".join(SERVICES["s3"]["healthcheck"]["test"])
    (path,) = re.findall(r"127\.0\.0\.1:5000(/\S*)'", check)
    with urllib.request.urlopen(f"http://{HOST}:{stack.s3_port}{path}") as answer:
        assert answer.status == 200


def test_every_dependency_is_a_service_that_can_reach_the_awaited_condition() -> None:
    for name, service in SERVICES.items():
        for other, dependency in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if dependency["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"
            assert dependency["condition"] != "service_started", f"{name}: {other} may not answer yet"
            if dependency["condition"] == "service_completed_successfully":
                assert "restart" not in SERVICES[other], f"{name} waits for {other}"


def test_every_mounted_path_and_volume_exists() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), f"{name}: {source}"
            else:
                assert source in compose()["volumes"], f"{name}: {source}"


def test_ports_are_published_on_loopback_only() -> None:
    assert [port for one in SERVICES.values() for port in one.get("ports", ())]
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_grace_period_is_longer_than_draining() -> None:
    worker = SERVICES["worker"]
    drain = float(worker["environment"]["COGENRE_DRAIN_SECONDS"])
    assert drain == WorkerSettings.model_fields["drain_seconds"].default
    assert drain < float(worker["stop_grace_period"].removesuffix("s"))


def test_the_tracks_are_uploaded_and_enqueued(environment: dict[str, str], s3: Any, bucket: str) -> None:
    """The upload of the service `tracks`, and the enqueue command that the docs give."""
    settings = {**os.environ, "COGENRE_BUCKETS": "music", "COGENRE_BUNDLE": str(DEMO_BUNDLE)}
    script = COMPOSE.parent / "upload.py"
    uploaded = subprocess.run(
        [sys.executable, script, ROOT / "deploy/demo/tracks"], env=settings, capture_output=True, text=True
    )
    assert uploaded.returncode == 0, uploaded.stderr
    enqueue = [sys.executable, "-m", "worker.cli", "enqueue", "s3://music/tracks/"]
    enqueued = subprocess.run(enqueue, env=settings, capture_output=True, text=True)
    assert enqueued.returncode == 0, enqueued.stderr
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    audio = [file for file in (ROOT / "deploy/demo/tracks").iterdir() if file.suffix != ".txt"]
    assert broker.llen(QUEUE_TRACKS) == len(audio)
    for listed in s3.list_objects_v2(Bucket="music").get("Contents", ()):
        s3.delete_object(Bucket="music", Key=listed["Key"])
    s3.delete_bucket(Bucket="music")
