"""A worker as in its image: PID 1 of its own namespace, with a read-only root file system."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.conftest import ROOT
from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import wait_until
from worker.local.stack import HOST, free_port

ROOT_READ_ONLY = 'mount -o remount,bind,ro / && ! touch "$0" 2>/dev/null && exec "$@"'
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


def in_container(file: Path, *command: str) -> list[str]:
    """Return a command that runs in such a namespace, after it has checked that `file` became read-only."""
    return [*UNSHARE, "sh", "-c", ROOT_READ_ONLY, str(file), *command]


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    file = tmp_path / "writable"
    if (
        not shutil.which("unshare")
        or subprocess.run(in_container(file, "true"), capture_output=True).returncode
    ):
        pytest.skip("cannot create a namespace with a read-only root")
    return file


@contextmanager
def running(writable: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a worker. Yield its parent process, and its process id in the outer namespace."""
    command = in_container(writable, sys.executable, "-B", "-m", "worker.cli", "worker")
    parent = subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT, start_new_session=True)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        wait_until(lambda: bool(children.read_text()), seconds=20)
        yield parent, int(children.read_text())
    finally:
        parent.kill()  # ends every process of the namespace
        parent.wait()


def http_status(port: int, path: str) -> int | None:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_labels_a_track_and_exits_on_sigterm(
    environment: dict[str, str], writable: Path, s3: Any, catalog: Engine
) -> None:
    port = free_port()
    with running(writable, COGENRE_HTTP_PORT=str(port)) as (parent, worker):
        push(job("track-1", put_audio(s3, "track-1.flac")))
        wait_until(lambda: count(catalog, "track_current") == 1)
        assert http_status(port, "/readyz") == 200
        os.kill(worker, signal.SIGTERM)
        assert parent.wait(60) == 0


def test_exits_on_sigterm_during_start(environment: dict[str, str], writable: Path) -> None:
    """Linux drops signals to PID 1 that have no handler."""
    port = free_port()
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()  # an S3 server that does not answer, so that the worker waits
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        with running(writable, COGENRE_HTTP_PORT=str(port), COGENRE_S3_ENDPOINT_URL=url) as (parent, worker):
            wait_until(lambda: http_status(port, "/readyz") == 503, seconds=30)
            os.kill(worker, signal.SIGTERM)
            assert parent.wait(30) == 128 + signal.SIGTERM
