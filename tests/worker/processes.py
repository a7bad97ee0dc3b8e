"""A real worker process, and waiting for what it does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def running_worker(**settings: str) -> Iterator[subprocess.Popen[str]]:
    """`cogenre worker` with this process's settings, and `settings`; ended by SIGTERM if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "worker"],
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        print(output)  # noqa: T201 - pytest shows it where a test fails


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
