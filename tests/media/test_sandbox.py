"""Each attempt runs in a process of its own: a sandbox is for good."""

import subprocess
import sys

import pytest

ATTEMPTS = {
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('/tmp/cogenre-escape', 'w')",
    "remove a file": "os.unlink('/tmp/cogenre-nothing')",
    "connect": "socket.socket()",
    "fork": "os.fork()",
    "run a program": "os.execv('/bin/true', ['true'])",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "regain its limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
}
SCRIPT = """
import os, resource, socket, sys
from media import sandbox
def slowly(held):
    for _ in range(5_000_000):  # the memory is looked at by the clock
        pass
sandbox.enter(64 << 20)
try:
    {attempt}
except (PermissionError, ValueError) as error:
    os._exit(7)
except MemoryError:
    os._exit(8)
os._exit(0)  # Python would unset the handler of a timer that is still running
"""


def run(attempt: str) -> int:
    script = SCRIPT.format(attempt=attempt)
    return subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_refuses_every_way_out(attempt: str) -> None:
    assert run(ATTEMPTS[attempt]) == 7


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        ("bytearray(48 << 20)", 0),
        ("bytearray(200 << 20)", 8),
        ("slowly([bytes(100_000) for _ in range(480)])", 0),
        ("slowly([bytes(100_000) for _ in range(960)])", 8),
    ],
    ids=["little", "much at once", "little by little", "too much by little"],
)
def test_grants_the_memory_it_was_told_and_no_more(attempt: str, code: int) -> None:
    assert run(attempt) == code
