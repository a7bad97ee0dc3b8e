"""Folders and files that appear complete or not at all."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from storage.errors import OutputError

LOCK_FILE = ".lock"


def refuse_existing(path: Path) -> None:
    """Raises OutputError where something lies at `path`: asked before work that takes long."""
    if path.exists():
        raise OutputError(f"{path} exists: choose another folder, or remove it first")


def make_folder(path: Path) -> None:
    """With its parents, unless it is there. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose another folder") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed to it at the end; after an exception nothing is left.

    Raises OutputError.
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
        raise OutputError(f"cannot write {path} ({error.strerror or error}): make room") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Of all processes that ask for the same folder, one at a time; one that is killed makes way.

    Raises OutputError.
    """
    try:
        # A file: NFS tells no other machine of a folder's lock.
        lock = (folder / LOCK_FILE).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise OutputError(f"cannot lock {folder} ({error.strerror}): choose another folder") from error
    with lock:
        yield


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside `path` that takes its place at the end; after an exception nothing is left."""
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
    """Replaces what is there. Raises OutputError."""
    try:
        with new_file(path) as file:
            Path(file.name).chmod(0o644)
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose another folder") from error
