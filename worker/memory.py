"""Reduces the memory of the worker, and stops a worker that exceeds its limit, so that it is restarted."""

import ctypes
import logging
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from time import sleep

from celery.signals import worker_ready

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""Seconds between two measurements of the memory."""
STATM = Path("/proc/self/statm")

M_ARENA_MAX = -8
"""Parameter of glibc's mallopt(3): the maximum number of heaps."""
MAX_HEAPS = 2


def share_heaps() -> None:
    """Make all threads that start later share two heaps.

    By default glibc gives each thread a heap, up to eight per CPU, and a heap never shrinks below the size
    that a track once needed. These heaps would be a third of a worker's memory.
    """
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MAX_HEAPS)


def limit_memory(max_bytes: int) -> None:
    """Send SIGTERM to this worker when it uses more than `max_bytes`. Starts when the worker is ready."""

    def watch() -> None:
        while (used := resident_bytes()) <= max_bytes:
            sleep(POLL_SECONDS)
        log.warning(
            "%d bytes in use, over COGENRE_MAX_MEMORY_BYTES (%d): the worker finishes its jobs and exits",
            used,
            max_bytes,
        )
        os.kill(os.getpid(), signal.SIGTERM)

    def start(**_: object) -> None:
        threading.Thread(target=watch, name="memory", daemon=True).start()

    worker_ready.connect(start, weak=False)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
