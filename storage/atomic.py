"""Atomic writes of files and folders, and locks of folders."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import filelock

from storage.errors import OutputError

LOCK_FILE = ".lock"
"""Name of the file in a locked folder."""


def refuse_existing(path: Path) -> None:
    """Raise OutputError if `path` exists. Called before long work, so that it does not fail at its end."""
    if path.exists():
        raise OutputError(f"{path} exists: choose another folder, or remove it first")


def make_folder(path: Path) -> None:
    """Create a folder and its parents, unless it exists. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose another folder") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` and rename it to `path` at the end.

    After an exception the temporary folder is removed. Raises OutputError.
    """
    refuse_existing(path)
    make_folder(path.parent)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"cannot write beside {path} ({error.strerror}): choose another folder") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        refuse_existing(path)
        temporary.rename(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror or error}): free some space, or choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def lock_folder(folder: Path, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold the folder's lock while the context is open. One thread of one process holds it at a time.

    Waits at most `timeout_seconds` for the lock; None = without limit. If a process is killed, the kernel
    releases its lock. Raises TimeoutError; OutputError if the folder cannot be locked.
    """
    # The lock is on a file in the folder, because NFS does not show a lock of the folder itself to other
    # machines. The fallback is off: it locks by creating a file, which would remain after a process is
    # killed.
    lock = filelock.FileLock(
        folder / LOCK_FILE, timeout=-1 if timeout_seconds is None else timeout_seconds, fallback_to_soft=False
    )
    try:
        lock.acquire()
    except filelock.Timeout:
        raise TimeoutError(f"{folder} was locked by another process for {timeout_seconds:g} s") from None
    except OSError as error:
        raise OutputError(f"cannot lock {folder} ({error.strerror}): choose another folder") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_path(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path` and rename it to `path` at the end.

    An existing file is replaced. After an exception the temporary file is removed. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that replaces `path` at the end, as `new_path` does. Raises OSError."""
    with new_path(path) as temporary, temporary.open("xb") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, replacing an existing file. Raises OutputError."""
    try:
        with new_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose another folder") from error
