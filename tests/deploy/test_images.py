"""The Dockerfile, without an engine: linted, its promises read, its health check run for real."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.manifests import DOCKERFILE, stages
from worker.local.stack import free_port
from worker.observe.endpoint import serve_http
from worker.observe.health import Health, Heartbeats

IMAGES = ("worker-cpu", "worker-gpu", "tools")

every_image = pytest.mark.parametrize("image", IMAGES)


def only(image: str, instruction: str) -> str:
    (found,) = (arguments for name, arguments in stages()[image] if name == instruction)
    return found


def everything_in(image: str) -> str:
    """All instructions that leave something in an image: its own and those of the stages it starts from."""
    base, _, _ = only(image, "FROM").partition(" AS ")
    own = "\n".join(" ".join(line) for line in stages()[image])
    return own + "\n" + everything_in(base) if base in stages() else own


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@every_image
def test_runs_as_nobody_in_particular(image: str) -> None:
    uid, _, gid = only(image, "USER").partition(":")
    assert int(uid) > 0
    assert int(gid) > 0


@every_image
def test_has_no_compiler_and_no_installer(image: str) -> None:
    content = everything_in(image)
    assert not re.search(r"\b(gcc|g\+\+|build-essential|devel|python3?-dev|nvcc)\b", content)
    assert not re.search(r"\b(uv|pip)\b", content)


def test_installs_nothing_that_is_not_hashed() -> None:
    """But for our own wheel, without its dependencies."""
    installs = [
        command
        for stage in stages().values()
        for name, arguments in stage
        if name == "RUN"
        for command in arguments.split("&&")
        if re.search(r"\bpip install\b", command)
    ]
    assert len(installs) == 5
    for command in installs:
        assert "--require-hashes" in command or ("--no-deps" in command and "/dist/*.whl" in command), command
        if "--require-hashes" in command:
            assert "--no-build " in command or "--only-binary :all:" in command, command


@pytest.mark.parametrize(
    ("image", "requirements"), [("worker-cpu", "worker.txt"), ("worker-gpu", "worker-gpu.txt")]
)
def test_each_worker_is_installed_from_its_lock(image: str, requirements: str) -> None:
    environment = re.findall(r"--from=(\S+) /opt/cogenre", everything_in(image))
    (copied,) = {
        arguments.split()[0]
        for name, arguments in stages()[environment[0]]
        if name == "COPY" and "requirements" in arguments
    }
    assert copied == f"requirements/{requirements}"
    assert (ROOT / copied).is_file()


def test_tensorrt_is_10() -> None:
    """What the locked ONNX Runtime links: a later one has another libnvinfer.so."""
    packages = re.findall(r"libnv\S+", " ".join(line for _, line in stages()["base-gpu"]))
    assert len(packages) == 3
    for package in packages:
        assert re.fullmatch(r"[a-z-]+10=10\.\*\+cuda13\.\*", package)
    assert re.search(r"nvidia/cuda:13\.\S+-cudnn-runtime-", only("base-gpu", "FROM"))


@every_image
def test_pid_1_is_cogenre(image: str) -> None:
    """The exec form: a shell as PID 1 would keep SIGTERM to itself."""
    assert json.loads(only(image, "ENTRYPOINT")) == ["cogenre"]


@pytest.mark.parametrize("image", ["worker-cpu", "worker-gpu"])
@pytest.mark.parametrize(("stuck", "code"), [(False, 0), (True, 1)])
def test_the_health_check_asks_the_worker(image: str, stuck: bool, code: int) -> None:
    command = json.loads(only(image, "HEALTHCHECK").partition(" CMD ")[2])
    port = free_port()
    heartbeats = Heartbeats(max_age_seconds=-1 if stuck else 60)
    heartbeats.send_heartbeat("inference")
    with serve_http(port, Health(heartbeats), lambda: None):
        done = subprocess.run(
            [sys.executable, *command[1:]], env={"COGENRE_HTTP_PORT": str(port)}, capture_output=True
        )
    assert command[0] == "python3"
    assert done.returncode == code, done.stderr


def test_the_health_check_fails_where_nobody_listens() -> None:
    command = json.loads(only("worker-cpu", "HEALTHCHECK").partition(" CMD ")[2])
    done = subprocess.run(
        [sys.executable, *command[1:]], env={"COGENRE_HTTP_PORT": str(free_port())}, capture_output=True
    )
    assert done.returncode == 1


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    kept = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    built_from = {"LICENSE", "README.md", "pyproject.toml", "requirements"}
    assert kept == built_from | {"schemas", "storage", "media", "report", "trainer", "exporter", "worker"}
    for stage in stages().values():
        for name, arguments in stage:
            if name == "COPY" and "--from" not in arguments and (source := shlex.split(arguments)[0]) != ".":
                assert source.partition("/")[0] in kept
                assert (ROOT / source).exists()
