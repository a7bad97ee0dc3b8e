"""`cogenre-train evaluate`: the report, and errors that a user can correct: one line, exit code 2."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.tables import write_rows
from tests.trainer.test_cli import run
from trainer.checkpoint import Checkpoint

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(manifest: Path) -> Rows:
    """Rows of the test split, with absolute paths of their files."""
    listed = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [
        row | {name: row[name] and str(manifest.parent / row[name]) for name in ("audio", "lyrics")}
        for row in listed
        if row["split"] == "test"
    ]


def evaluate(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, source: Path, out: Path) -> int:
    arguments = (checkpoint, source, "--out", out, "--resamples", "20", "--cache", out.parent / "cache")
    return run(monkeypatch, "evaluate", *arguments)


def read_error(capfd: pytest.CaptureFixture[str]) -> str:
    error = capfd.readouterr().err
    assert error.startswith("cogenre-train: "), error
    assert error.count("\n") == 1
    return error


@pytest.fixture
def evaluate_and_read_error(
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[[Path], str]:
    """A function that evaluates a source that is refused, and returns the error."""

    def evaluate_source(source: Path) -> str:
        assert evaluate(monkeypatch, checkpoint_folder, source, tmp_path / "out") == 2
        return read_error(capfd)

    return evaluate_source


def test_the_report_has_the_metrics_of_fit(
    checkpoint_folder: Path,
    checkpoint: Checkpoint,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(monkeypatch, checkpoint_folder, manifest, tmp_path / "out") == 0
    output = capfd.readouterr().out
    assert "report written to" in output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.md", "report.html"}
    assert not list(tmp_path.glob(".*"))
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (found["tracks"], found["split"], found["synthetic"]) == (12, "test", True)
    assert (found["trained_on"], found["data_set"]) == ("tones", manifest.parent.name)
    fitted = [measured.metrics for measured in checkpoint.description.measurements]
    for group, metrics in zip(found["groups"], fitted, strict=False):
        assert {name: one["value"] for name, one in group["metrics"].items()} == pytest.approx(metrics)
    assert [group["tracks"] for group in found["groups"]] == [12, 12, 10, 10, 2]
    assert found["graphs"]["correlations"][0][1] == pytest.approx(
        checkpoint.description.correlations[0][1], abs=1e-4
    )
    assert f"{fitted[0]['f1']:.3f}" in output


def test_the_same_arguments_give_the_same_report(
    checkpoint_folder: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        assert evaluate(monkeypatch, checkpoint_folder, manifest, tmp_path / name) == 0
    for file in ("report.json", "report.md", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_training_tracks_are_left_out_of_the_test_split(
    checkpoint_folder: Path,
    manifest: Path,
    rows: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When a catalog has grown, splits that are assigned again can contain training tracks."""
    trained, *others = (json.loads(line) for line in manifest.read_text().splitlines())
    trained |= {name: str(manifest.parent / trained[name]) for name in ("audio",)} | {"split": "test"}
    listed = write_rows(tmp_path / "tracks.jsonl", [*rows, trained])
    assert evaluate(monkeypatch, checkpoint_folder, listed, tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (found["tracks"], found["left_out"]) == (12, {"UsedInTraining": 1})
    assert len(others) == 47


def test_a_genre_without_tracks_is_logged(
    checkpoint_folder: Path,
    rows: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for row in rows:
        row["genres"] = [slug for slug in row["genres"] if slug != "love"]
    source = write_rows(tmp_path / "m.jsonl", rows)
    with caplog.at_level(logging.WARNING):
        assert evaluate(monkeypatch, checkpoint_folder, source, tmp_path / "out") == 0
    assert "no track of split test has love: each counts as 0 in macro_f1" in caplog.text
    assert "No track has love" in (tmp_path / "out" / "report.md").read_text()


def test_audio_that_cannot_be_read_is_left_out_and_counted(
    checkpoint_folder: Path,
    rows: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows[0]["audio"] = "none.wav"
    (tmp_path / "broken.wav").write_bytes(b"no audio at all")
    rows[1]["audio"] = "broken.wav"
    source = write_rows(tmp_path / "m.jsonl", rows)
    with caplog.at_level(logging.WARNING):
        assert evaluate(monkeypatch, checkpoint_folder, source, tmp_path / "out") == 0
    last = caplog.records[-1].getMessage()
    assert last == "left out 2 of 12 tracks: 1 UnreadableFile, 1 UnsupportedAudio"
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["tracks"] == 10
    assert found["left_out"] == {"UnreadableFile": 1, "UnsupportedAudio": 1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"genres": ["polka"]}, "line 2: polka is not a genre of the checkpoint: remove it, or train"),
        ({"genres": []}, "line 2: genres"),
        ({"split": "train"}, "split test has 0 of 1 tracks, and at least two are needed"),
        ({"split": "test"}, "split test has 1 of 1 tracks, and at least two are needed"),
    ],
)
def test_invalid_rows_are_refused(
    rows: Rows,
    change: dict[str, Any],
    expected: str,
    tmp_path: Path,
    evaluate_and_read_error: Callable[[Path], str],
) -> None:
    source = write_rows(tmp_path / "m.csv", [rows[0] | change])
    assert expected in evaluate_and_read_error(source)
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


def test_the_checkpoints_genres_are_used_instead_of_genres_json(
    rows: Rows, tmp_path: Path, evaluate_and_read_error: Callable[[Path], str]
) -> None:
    (tmp_path / "genres.json").write_text('[{"slug": "polka", "name": "Polka"}]')
    source = write_rows(tmp_path / "m.jsonl", [rows[0] | {"genres": ["polka"]}])
    assert "polka is not a genre of the checkpoint" in evaluate_and_read_error(source)


def test_a_missing_column_is_refused(
    rows: Rows, tmp_path: Path, evaluate_and_read_error: Callable[[Path], str]
) -> None:
    source = write_rows(tmp_path / "m.csv", rows, without=("lyrics",))
    assert "has no column lyrics" in evaluate_and_read_error(source)


def test_a_split_without_readable_tracks_is_refused(
    rows: Rows, tmp_path: Path, evaluate_and_read_error: Callable[[Path], str]
) -> None:
    source = write_rows(tmp_path / "m.jsonl", [row | {"audio": "none.wav"} for row in rows])
    assert "split test: fewer than two of 12 tracks are left" in evaluate_and_read_error(source)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_weights_that_do_not_fit_the_configuration_are_refused(
    checkpoint_folder: Path,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    copy = Path(shutil.copytree(checkpoint_folder, tmp_path / "checkpoint"))
    description = json.loads((copy / "checkpoint.json").read_text())
    description["config"]["network"]["projection"] = 5
    (copy / "checkpoint.json").write_text(json.dumps(description))
    assert evaluate(monkeypatch, copy, manifest, tmp_path / "out") == 2
    assert "does not fit the configuration" in read_error(capfd)


def test_a_missing_checkpoint_is_refused(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(monkeypatch, tmp_path / "nowhere", manifest, tmp_path / "out") == 2
    assert "no checkpoint at" in read_error(capfd)


def test_a_report_is_not_overwritten(
    manifest: Path, tmp_path: Path, evaluate_and_read_error: Callable[[Path], str]
) -> None:
    (tmp_path / "out").mkdir()
    assert "exists" in evaluate_and_read_error(manifest)
    assert not list((tmp_path / "out").iterdir())


def test_the_command_prints_no_traceback(checkpoint_folder: Path, rows: Rows, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "m.jsonl", [rows[0] | {"genres": ["polka"]}])
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "cogenre-train", "evaluate", checkpoint_folder, source),
            *("--out", tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"cogenre-train: {source}, line 1: polka is not a genre of the checkpoint")
    assert done.stderr.count("\n") == 1
