"""The command line: an error that a user can correct is one line, with exit code 2."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from exporter.cli import main
from schemas.bundle import read_bundle
from tests.exporter.tracks import write_tracks


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["cogenre-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code is None or isinstance(exit_.value.code, int)
    return exit_.value.code or 0


def test_bundle_then_verify(
    checkpoint_folder: Path,
    bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Copy the shared graph instead of exporting, which takes seconds.
    def export(_: object, file: Path, deduplicate: bool = True) -> None:
        shutil.copyfile(bundle_folder / file.name, file)

    monkeypatch.setattr("exporter.bundle.export_graph", export)
    out = tmp_path / "bundle"
    label = ("--name", "tiny", "--version", "0.1.0")
    (tmp_path / "music").mkdir()
    measured = ("--measure", write_tracks(tmp_path / "music"))
    precision = ("--precision", "fp32,int8", *measured)
    assert run(monkeypatch, "bundle", checkpoint_folder, out, *label, *precision) == 0
    output = capfd.readouterr().out
    assert "tiny:0.1.0 written to" in output
    assert "int8: changes 0.00% of the label decisions, costs" in output
    assert "mAP (music, valid, 3)" in output
    assert read_bundle(out).label == "tiny:0.1.0"
    assert run(monkeypatch, "verify", out, checkpoint_folder) == 0
    output = capfd.readouterr().out
    assert "fp32: probabilities within" in output
    assert "of the checkpoint's in 23 cases, " in output
    assert "from file to labels in 12 files on cpu\nint8: probabilities within" in output
    assert run(monkeypatch, "verify", out) == 0
    assert "fp32: probabilities within 0.0e+00 of the fp32 graph's in 23 cases" in capfd.readouterr().out


LABEL = ("--name", "tiny", "--version", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bundle", "nowhere", "out", *LABEL), "no checkpoint at nowhere"),
        (("bundle", "{checkpoint}", "out", "--name", "No Name", "--version", "1"), "name 'No Name'"),
        (("bundle", "{checkpoint}", "{checkpoint}", *LABEL), "exists"),
        (("bundle", "{checkpoint}", "out", *LABEL, "--precision", "fp32,int4"), "--precision fp32,int4"),
        (
            ("bundle", "{checkpoint}", "out", *LABEL, "--precision", "fp32,int8,fp16"),
            "the cost of fp16 and int8",
        ),
        (("bundle", "{checkpoint}", "out", *LABEL, "--measure", "no.jsonl"), "cannot read no.jsonl"),
        (("push", "nowhere", "s3://bucket"), "no bundle at nowhere"),
        (("push", "{bundle}", "bucket"), "write s3://bucket/prefix"),
        (("pull", "bucket/x", "out"), "write s3://bucket/prefix"),
        (("verify", "nowhere", "{checkpoint}"), "no bundle at nowhere"),
        (("verify", "{bundle}", "nowhere"), "no checkpoint at nowhere"),
    ],
)
def test_an_error_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    checkpoint_folder: Path,
    bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [part.format(checkpoint=checkpoint_folder, bundle=bundle_folder) for part in arguments]
    capfd.readouterr()
    assert run(monkeypatch, *filled) == 2
    stderr = capfd.readouterr().err
    assert stderr.startswith("cogenre-export: ")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("bundle",), ("bundle", "a", "b"), ("bake",)])
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("cogenre-export")
    assert line.endswith("--help`)")


def test_push_and_pull_do_not_require_the_newer_checksums_of_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configs: list[Any] = []

    def client(*_: str, config: Any, **__: object) -> None:
        configs.append(config)
        raise BotoCoreError

    monkeypatch.setattr("boto3.session.Session.client", client)
    assert run(monkeypatch, "pull", "s3://bucket/models/tiny/1", tmp_path / "out") == 2
    (config,) = configs
    assert config.request_checksum_calculation == "when_required"
    assert config.response_checksum_validation == "when_required"
