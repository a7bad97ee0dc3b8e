"""The command line: errors of the user are one line and exit code 2."""

import json
import sys
from pathlib import Path

import pytest

from trainer.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["cogenre-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code is None or isinstance(exit_.value.code, int)
    return exit_.value.code or 0


@pytest.mark.heavy
def test_fit_writes_a_checkpoint(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = [
        'network.audio={"sample_rate":8000,"window_seconds":1,"windows":1,"picking":"spread"}',
        'network.lyrics_model={"vocabulary":100,"layers":1,"width":16,"heads":2,"steps":2}',
        "network.n_fft=512",
        "network.hop=256",
        "network.mels=32",
    ]
    arguments = [part for setting in settings for part in ("--set", setting)]
    code = run(
        monkeypatch,
        *("fit", manifest, "--preset", "small", "--out", tmp_path / "out", "--epochs", "1", "--seed", "5"),
        *("--cache", tmp_path / "cache"),
        *arguments,
    )
    assert code == 0
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"hidden", "log-mels"}
    assert "checkpoint written to" in capfd.readouterr().out
    description = json.loads((tmp_path / "out" / "checkpoint.json").read_text())
    assert description["config"]["fit"]["epochs"] == 1
    assert description["config"]["fit"]["seed"] == 5
    assert description["data_set"]["name"] == manifest.parent.name
    assert not description["data_set"]["synthetic"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "nowhere.jsonl", "--out", "out"), "nowhere.jsonl does not exist"),
        (("fit", "nowhere.jsonl", "--out", "out", "--set", "fit.batch=0"), "fit.batch"),
        (("fit", "nowhere.jsonl", "--out", "out", "--set", "batch=5"), "no setting batch"),
    ],
)
def test_an_error_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    stderr = capfd.readouterr().err
    assert stderr.startswith("cogenre-train: ")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("fit",), ("fit", "m", "--preset", "big", "--out", "o"), ("bake",)])
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("cogenre-train")
    assert line.endswith("--help`)")
