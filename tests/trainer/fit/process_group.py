"""Waits for the processes of a killed run: they end when the main process has ended."""

import os
import time

TIMEOUT_SECONDS = 60


def wait_for_group(group: int) -> None:
    """Wait until the process group has no process. Raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise TimeoutError(f"process group {group} still has processes after {TIMEOUT_SECONDS} s")
