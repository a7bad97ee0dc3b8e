"""The Dockerfile, checked without Docker: linted and parsed; its health check is run."""

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


def single_argument(image: str, instruction: str) -> str:
    (found,) = (arguments for name, arguments in stages()[image] if name == instruction)
    return found


def all_instructions(image: str) -> str:
    """Return the instructions of an image and of the stages that it is built from."""
    base, _, _ = single_argument(image, "FROM").partition(" AS ")
    own = "\n".join(" ".join(line) for line in stages()[image])
    return own + "\n" + all_instructions(base) if base in stages() else own


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@every_image
def test_runs_as_an_unprivileged_user(image: str) -> None:
    uid, _, gid = single_argument(image, "USER").partition(":")
    assert int(uid) > 0
    assert int(gid) > 0


@every_image
def test_has_no_compiler_and_no_package_installer(image: str) -> None:
    content = all_instructions(image)
    assert not re.search(r"\b(gcc|g\+\+|build-essential|devel|python3?-dev|nvcc)\b", content)
    assert not re.search(r"\b(uv|pip)\b", content)


def test_every_installed_package_has_a_hash() -> None:
    """Except cogenre's own wheel, which is installed without dependencies."""
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
    environment = re.findall(r"--from=(\S+) /opt/cogenre", all_instructions(image))
    (copied,) = {
        arguments.split()[0]
        for name, arguments in stages()[environment[0]]
        if name == "COPY" and "requirements" in arguments
    }
    assert copied == f"requirements/{requirements}"
    assert (ROOT / copied).is_file()


def test_tensorrt_is_10() -> None:
    """The locked ONNX Runtime links TensorRT 10; other versions have a different libnvinfer.so."""
    packages = re.findall(r"libnv\S+", " ".join(line for _, line in stages()["base-gpu"]))
    assert len(packages) == 3
    for package in packages:
        assert re.fullmatch(r"[a-z-]+10=10\.\*\+cuda13\.\*", package)
    assert re.search(r"nvidia/cuda:13\.\S+-cudnn-runtime-", single_argument("base-gpu", "FROM"))


@every_image
def test_pid_1_is_cogenre(image: str) -> None:
    """The exec form is used: a shell as PID 1 would not forward SIGTERM."""
    assert json.loads(single_argument(image, "ENTRYPOINT")) == ["cogenre"]


@pytest.mark.parametrize("image", ["worker-cpu", "worker-gpu"])
@pytest.mark.parametrize(("stuck", "code"), [(False, 0), (True, 1)])
def test_the_health_check_reports_liveness(image: str, stuck: bool, code: int) -> None:
    command = json.loads(single_argument(image, "HEALTHCHECK").partition(" CMD ")[2])
    port = free_port()
    heartbeats = Heartbeats(max_age_seconds=-1 if stuck else 60)
    heartbeats.send_heartbeat("inference")
    with serve_http(port, Health(heartbeats), lambda: None):
        done = subprocess.run(
            [sys.executable, *command[1:]], env={"COGENRE_HTTP_PORT": str(port)}, capture_output=True
        )
    assert command[0] == "python3"
    assert done.returncode == code, done.stderr


def test_the_health_check_fails_without_a_server() -> None:
    command = json.loads(single_argument("worker-cpu", "HEALTHCHECK").partition(" CMD ")[2])
    done = subprocess.run(
        [sys.executable, *command[1:]], env={"COGENRE_HTTP_PORT": str(free_port())}, capture_output=True
    )
    assert done.returncode == 1


def test_the_build_context_holds_only_what_is_copied() -> None:
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
