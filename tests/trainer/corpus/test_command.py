"""`cogenre-train corpus`."""

import sys
from pathlib import Path

import pytest

from trainer.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int | str:
    monkeypatch.setattr(sys, "argv", ["cogenre-train", "corpus", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code or 0


def test_it_writes_the_requested_number_of_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, tmp_path / "out", "--tracks", "3", "--seed", "1") == 0
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 3


def test_a_folder_that_exists_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path) == 2
    error = capfd.readouterr().err
    assert "exists" in error
    assert error.count("\n") == 1
