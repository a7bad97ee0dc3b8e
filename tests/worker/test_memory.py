"""The heaps of the worker's threads."""

import re
import subprocess
import sys

PROGRAM = """
import ctypes, sys, threading
from worker.memory import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fdopen.restype = ctypes.c_void_p, ctypes.c_void_p
all_there = threading.Barrier(8)

def take() -> None:
    all_there.wait()
    libc.malloc(1000)

threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def heaps(how: str) -> int:
    found = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return len(re.findall("<heap ", found.stdout))


def test_threads_share_two_heaps() -> None:
    assert heaps("as glibc does") > 2
    assert heaps("shared") == 2
