"""The worker's own memory: kept small, and bounded.

Above the bound it drains and ends, and its supervisor starts a fresh one.
"""

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

LOOK_SECONDS = 5.0
STATM = Path("/proc/self/statm")


M_ARENA_MAX = -8
"""glibc's mallopt(3)."""
ARENAS = 2


def share_heaps() -> None:
    """Threads started from now on share two heaps.

    By default glibc gives each thread its own, up to eight a CPU, and each keeps what it once needed for a
    track: a third of a worker's memory.
    """
    with suppress(AttributeError):  # no glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def bound_memory(max_bytes: int) -> None:
    """From when the worker is ready, a thread looks; above the bound it does what SIGTERM does, once."""

    def look() -> None:
        while (used := resident_bytes()) <= max_bytes:
            sleep(LOOK_SECONDS)
        log.warning("%d bytes of memory, more than %d: draining", used, max_bytes)
        os.kill(os.getpid(), signal.SIGTERM)

    def start(**_: object) -> None:
        threading.Thread(target=look, name="memory", daemon=True).start()

    worker_ready.connect(start, weak=False)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
