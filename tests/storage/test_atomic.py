"""A folder appears complete or not at all."""

import errno
import os
from pathlib import Path

import pytest

from storage.atomic import new_folder
from storage.errors import OutputError


def test_appears_when_done(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "file").write_text("text")
        assert not out.exists()
    assert (out / "file").read_text() == "text"
    assert list(out.parent.iterdir()) == [out]


def test_leaves_nothing_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists"), new_folder(out):
        pass
    with pytest.raises(OutputError, match="exists"), new_folder(tmp_path / "other"):
        (tmp_path / "other").mkdir()
    assert out.read_text() == "mine"


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"cannot write .*: choose another folder"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_a_full_disk_is_no_stack_trace(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*out \(No space left on device\): make room"),
        new_folder(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())
