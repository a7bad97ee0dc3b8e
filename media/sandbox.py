"""Restricts a decode process after it has loaded its code.

FFmpeg parses untrusted files, so a malicious file may control the process. It finds no secrets, because the
process is started without the worker's environment (media/decoders.py). It cannot open or change files, open
sockets, start or inspect processes, or exceed the memory limit.

System calls are refused by number with seccomp, on Linux on x86-64 and arm64. A list of refused calls
is used, because a list of allowed calls would depend on C library and kernel.
"""

import ctypes
import os
import resource
import signal
import struct
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
REFUSE = 0x0005_0001
"""SECCOMP_RET_ERRNO with EPERM."""
ALLOW = 0x7FFF_0000
"""SECCOMP_RET_ALLOW."""
KILL = 0x8000_0000
"""SECCOMP_RET_KILL_PROCESS."""

X32_CALLS = 0x4000_0000
"""First number of x86-64's second set of system calls."""

ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""The kernel's identifier (AUDIT_ARCH) by machine name."""

# fmt: off
REFUSED = {
    "x86_64": (
        2, 85, 257, 304, 437,  # open, creat, openat, open_by_handle_at, openat2
        76, 82, 83, 84, 86, 87, 88, 90, 92, 94,  # truncate, rename, mkdir, … , chown
        258, 260, 263, 264, 265, 266, 268, 316,  # mkdirat, … , renameat2
        41, 42, 49, 425,  # socket, connect, bind, io_uring_setup
        56, 57, 58, 59, 322, 435,  # clone, fork, vfork, execve, execveat, clone3
        62, 101, 310, 311, 424, 434, 438,  # kill, ptrace, process_vm_*, pidfd_*
        165, 248, 249, 250, 298, 321, 323,  # mount, keys, perf_event_open, bpf, userfaultfd
    ),
    "aarch64": (
        56, 265, 437,  # openat, open_by_handle_at, openat2
        34, 35, 36, 37, 38, 45, 53, 54, 276,  # mkdirat, … , renameat2
        198, 200, 203, 425,  # socket, bind, connect, io_uring_setup
        220, 221, 281, 435,  # clone, execve, execveat, clone3
        129, 117, 270, 271, 424, 434, 438,  # kill, ptrace, process_vm_*, pidfd_*
        40, 217, 218, 219, 241, 280, 282,  # mount, keys, perf_event_open, bpf, userfaultfd
    ),
}
# fmt: on
"""Refused system calls by machine: files, sockets, processes, other processes' memory, and the calls with
most of the kernel's vulnerabilities."""


RESERVE_BYTES = 64 << 20
"""Distance from the limit at which MemoryError is raised to the limit that Linux enforces. It exists because
parts of FFmpeg and PyAV crash if an allocation fails."""

WATCH_SECONDS = 0.01
"""CPU time between two checks of the memory in use. An idle process uses none, so it is not woken."""


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Ask Linux to send this process the signal `number` when its parent ends, even by SIGKILL.

    `parent` is the parent's process id. Exits with code 1 if the parent has ended already.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit(1)


def enter(memory_bytes: int) -> None:
    """Restrict this process permanently. MemoryError is raised in it if it uses `memory_bytes` more than now.

    Raises OSError if Linux refuses a limit.
    """
    limit = _watch_memory(memory_bytes)
    for kind, value in (
        (resource.RLIMIT_AS, limit + RESERVE_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        resource.setrlimit(kind, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    machine = os.uname().machine
    if machine in REFUSED:
        _install_filter(libc, ARCHITECTURES[machine], REFUSED[machine])


def _watch_memory(memory_bytes: int) -> int:
    """Start the check of the memory in use, which raises MemoryError in the main thread.

    Returns the limit in bytes.
    """
    statm = os.open("/proc/self/statm", os.O_RDONLY)

    def in_use() -> int:
        return int(os.pread(statm, 64, 0).split()[0]) * resource.getpagesize()

    limit = in_use() + memory_bytes

    def check(*_: object) -> None:
        if in_use() > limit:
            stop_watching()
            raise MemoryError

    signal.signal(signal.SIGPROF, check)
    signal.setitimer(signal.ITIMER_PROF, WATCH_SECONDS, WATCH_SECONDS)
    return limit


def stop_watching() -> None:
    """Stop the check of the memory in use. Must be called before the process ends.

    At exit Python removes the signal's handler. A signal after that would kill the process, and the reason
    why it ended would be lost.
    """
    signal.setitimer(signal.ITIMER_PROF, 0)


class _Program(ctypes.Structure):
    """The C structure `sock_fprog`: a filter and its number of instructions."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install_filter(libc: ctypes.CDLL, architecture: int, calls: tuple[int, ...]) -> None:
    """Install a seccomp filter that refuses `calls`, and kills the process on another `architecture`."""
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    count = len(calls)
    # (operation, steps to skip if true, if false, operand)
    steps = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, architecture),
        (end, 0, 0, KILL),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, count + 1, 0, X32_CALLS),
        *((equal, count - place, 0, call) for place, call in enumerate(calls)),
        (end, 0, 0, ALLOW),
        (end, 0, 0, REFUSE),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    # This fails on a kernel without seccomp. The resource limits apply anyway.
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
