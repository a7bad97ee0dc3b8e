"""Atomic files and folders, and locks of folders."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.atomic import lock_folder, new_file, new_folder, write_text
from storage.errors import OutputError


def test_the_folder_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "file").write_text("text")
        assert not out.exists()
    assert (out / "file").read_text() == "text"
    assert list(out.parent.iterdir()) == [out]


def test_nothing_remains_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())


def test_an_existing_path_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists"), new_folder(out):
        pass
    with pytest.raises(OutputError, match="exists"), new_folder(tmp_path / "other"):
        (tmp_path / "other").mkdir()
    assert out.read_text() == "mine"


def test_a_parent_that_is_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"cannot write .*: choose another folder"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*out \(No space left on device\): free some space"),
        new_folder(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with new_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stays_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), new_file(path) as file:
        file.write(str(1 / 0).encode())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "out", "text")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_is_locked_by_one_at_a_time(tmp_path: Path) -> None:
    with lock_folder(tmp_path), ThreadPoolExecutor() as pool:

        def lock_again() -> None:
            with lock_folder(tmp_path, timeout_seconds=0.2):
                pass

        with pytest.raises(TimeoutError, match=r"was locked by another process for 0\.2 s"):
            pool.submit(lock_again).result(60)
    with lock_folder(tmp_path, timeout_seconds=0.2):
        pass


def test_the_lock_of_a_killed_process_is_released(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib, storage.atomic as atomic\n"
        "with atomic.lock_folder(pathlib.Path(sys.argv[1])): print('locked', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(TimeoutError), lock_folder(tmp_path, timeout_seconds=0):
            pass
        process.kill()
        process.wait()
    with lock_folder(tmp_path, timeout_seconds=5):
        pass


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot lock .*file"), lock_folder(tmp_path / "file"):
        pass
