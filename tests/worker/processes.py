"""A real worker process, and waiting for a condition."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class WorkerProcess:
    """`cogenre worker` with the settings of this process and `settings`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by _end
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", "worker"],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Send SIGKILL, as the kernel does when memory runs out."""
        self.process.kill()
        self._end()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the process has not ended after 60 s."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._end()

    def _end(self) -> None:
        self.process.wait()
        self._output.seek(0)
        print(self._output.read())  # noqa: T201 - pytest shows it if a test fails
        self._output.close()


@contextmanager
def running_worker(**settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker, which is stopped when the context ends."""
    worker = WorkerProcess(settings)
    try:
        yield worker.process
    finally:
        worker.stop()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until `condition` returns true. Fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not met within {seconds:g} s"
        time.sleep(0.05)
