"""Atomic writes of files and folders, and locks of folders."""

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
    """Raise OutputError if `path` exists. Called before work that takes long."""
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

    After an exception nothing remains. Raises OutputError.
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
    """Hold the folder's lock: of all processes and threads that lock a folder, one runs at a time.

    Waits at most `timeout_seconds`, or without limit. The kernel releases the lock of a process that is
    killed. Raises TimeoutError; OutputError where the folder cannot be locked.
    """
    # A file in the folder: NFS does not propagate a lock of the folder itself to other machines. flock only:
    # filelock's fallback, a file that exists while the lock is held, would outlive a killed process.
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
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file beside `path` and rename it to `path` at the end, replacing what is there.

    After an exception nothing remains of it. Raises OSError.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, replacing what is there. Raises OutputError."""
    try:
        with new_file(path) as file:
            Path(file.name).chmod(0o644)
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose another folder") from error
