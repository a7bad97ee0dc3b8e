"""The commands around the catalog."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from schemas.catalog.access import grant
from tests.worker.catalog.labels import FakeModel, model
from worker.catalog.models import record_served
from worker.catalog.refresh import refresh
from worker.cli import main


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Ended]


@pytest.fixture
def cogenre(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command as `cogenre` does, within this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cogenre", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def analyst(catalog: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands connect as an analyst."""
    name = f"analyst_{uuid.uuid4().hex}"
    with catalog.begin() as connection:
        connection.execute(text(f"create role {name} login"))
    with catalog.connect() as connection:
        grant(connection, "analyst", name)
    url = catalog.url.set(drivername="postgresql", username=name)
    monkeypatch.setenv("COGENRE_CATALOG_URL", url.render_as_string(hide_password=False))
    yield
    with catalog.begin() as connection:
        connection.execute(text(f"drop owned by {name}; drop role {name}"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory of the test, for files without a path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def labelled(catalog: Engine) -> FakeModel:
    fake = model(catalog)
    fake.label("t1", rock=0.9, pop=0.8)
    fake.label("t2", jazz=0.9)
    return fake


def test_a_model_from_shadow_to_current(catalog: Engine, labelled: FakeModel, cogenre: Command) -> None:
    shadow = model(catalog, "2")
    unserved = cogenre("models", "promote", "small:2", "--min-coverage", "0")
    assert (unserved.returncode, unserved.stderr.count("\n")) == (2, 1)
    assert "cogenre: no worker serves small:2: add its bundle to COGENRE_BUNDLE" in unserved.stderr
    record_served(catalog, ["2" * 64])
    refused = cogenre("models", "promote", "small:2")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "cogenre: small:2 has classified 0 of 2 labelled tracks (0.0%)" in refused.stderr
    shadow.label("t1", jazz=0.9)
    done = cogenre("models", "promote", "small:2", "--min-coverage", "0.5")
    assert "small:2 is current: 1 tracks show its labels, 1 those of an older model" in done.stdout
    assert cogenre("catalog", "refresh").returncode == 0
    listed = [json.loads(line) for line in cogenre("models", "list", "--json").stdout.splitlines()]
    assert {line["model"]: (line["status"], line["tracks"]) for line in listed} == {
        "small:2": ("current", 1),
        "small:1": ("retired", 2),
    }


def test_refresh_repeats_until_it_is_interrupted(
    catalog: Engine, labelled: FakeModel, cogenre: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("worker.cli.catalog.sleep", sleep)
    done = cogenre("catalog", "refresh", "--every", "300")
    assert (done.returncode, slept) == (130, [300, 300])
    once = cogenre("catalog", "refresh").stdout
    assert done.stdout.count("\n") == 2 * once.count("\n")


def test_backfill_prints_the_number_of_tracks(catalog: Engine, labelled: FakeModel, cogenre: Command) -> None:
    model(catalog, "2")
    command = ("backfill", "--model", "small:2", "--rate", "1000")
    with catalog.begin() as connection:
        connection.execute(text("update model set served_at = now() - interval '1 hour'"))
    assert "no worker serves small:2" in cogenre(*command).stderr
    assert "enqueued 2 tracks for small:2" in cogenre(*command, "--unserved").stderr
    record_served(catalog, ["2" * 64])
    done = cogenre(*command)
    assert done.returncode == 0
    assert "enqueued 2 tracks for small:2" in done.stderr


def test_queries_print_json_lines(catalog: Engine, labelled: FakeModel, cogenre: Command) -> None:
    cogenre("catalog", "refresh")
    (found,) = map(json.loads, cogenre("catalog", "search", "--genre", "pop", "--json").stdout.splitlines())
    assert found["genres"] == {"rock": 0.9, "pop": 0.8}
    for command in (["genres"], ["correlations", "rock"], ["correlations"], ["trend", "rock"]):
        answer = cogenre("catalog", *command, "--json")
        assert answer.returncode == 0, answer.stderr
        assert all(map(json.loads, answer.stdout.splitlines()))
        assert answer.stdout


def test_an_unknown_reason_is_refused(labelled: FakeModel, cogenre: Command) -> None:
    assert cogenre("catalog", "unlabelled", "--reason", "no genre").returncode == 0
    refused = cogenre("catalog", "unlabelled", "--reason", "nonsense")
    assert refused.returncode == 2
    assert "'not shown'" in refused.stderr


def test_feedback_export_and_report(
    catalog: Engine, labelled: FakeModel, cogenre: Command, tmp_path: Path
) -> None:
    assert cogenre("feedback", "add", "t1", "pop", "wrong", "--by", "ann").returncode == 0
    assert cogenre("feedback", "export", str(tmp_path / "manifest.jsonl")).returncode == 0
    assert json.loads((tmp_path / "manifest.jsonl").read_text())["genres"] == ["rock"]
    assert cogenre("catalog", "export", "track", str(tmp_path / "tracks.csv")).stdout.startswith("2 rows in")
    assert cogenre("catalog", "report", str(tmp_path / "catalog.html")).returncode == 0
    assert (tmp_path / "catalog.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "command",
    [
        ["catalog", "search", "--genre", "rock"],
        ["catalog", "genres"],
        ["catalog", "correlations", "rock"],
        ["catalog", "changes", "small:1", "small:2"],
        ["catalog", "trend", "rock"],
        ["catalog", "unlabelled"],
        ["catalog", "similar", "t1"],
        ["catalog", "dictionary"],
        ["catalog", "export", "track", "tracks.csv"],
        ["catalog", "report", "catalog.html"],
        ["models", "list"],
    ],
    ids=" ".join,
)
def test_an_analyst_can_run_every_query(
    catalog: Engine, labelled: FakeModel, analyst: None, cogenre: Command, command: list[str], folder: Path
) -> None:
    with catalog.begin() as connection:
        connection.execute(text("create extension vector"))
    model(catalog, "2").label("t1", rock=0.9)
    refresh(catalog)
    done = cogenre(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["catalog", "refresh"],
        ["catalog", "grant", "writer", "cogenre_analyst"],
        ["models", "promote", "small:1"],
        ["models", "retire", "small:1"],
        ["backfill", "--model", "small:1"],
        ["feedback", "add", "t1", "rock", "right", "--by", "ann"],
        ["feedback", "export", "manifest.jsonl"],
        ["failures", "list"],
        ["status"],
    ],
    ids=" ".join,
)
def test_a_missing_permission_is_reported_in_one_line(
    labelled: FakeModel, analyst: None, cogenre: Command, command: list[str], folder: Path
) -> None:
    done = cogenre(*command)
    assert done.returncode == 2
    assert done.stderr.startswith("cogenre: ")
    assert done.stderr.count("\n") == 1
    assert "permission denied" in done.stderr or "read-only" in done.stderr or "must be" in done.stderr


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["catalog", "changes", "a:1", "b:1"], "a:1 and b:1 were not compared"),
        (["catalog", "trend", "polka"], "no model has the genre polka"),
        (["catalog", "similar", "t1"], "similar tracks need pgvector"),
        (["catalog", "export", "track", "tracks.xls"], "must end in .parquet, .csv, .jsonl"),
        (["catalog", "grant", "analyst", "nobody"], 'cannot grant: role "nobody" does not exist'),
        (["models", "promote", "none:1"], "the catalog has no model none:1"),
        (["models", "retire", "small:1"], "small:1 is the current model"),
        (["models", "add", "/no/such/folder"], "no bundle at /no/such/folder"),
        (["backfill", "--model", "none:1"], "the catalog has no model none:1"),
        (["feedback", "add", "none", "rock", "right", "--by", "ann"], "the catalog has no track none"),
        (["feedback", "export", "/no/such/folder/manifest.jsonl"], "cannot write /no/such/folder"),
    ],
)
def test_an_error_is_one_line(
    catalog: Engine, labelled: FakeModel, cogenre: Command, command: list[str], problem: str
) -> None:
    done = cogenre(*command)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.startswith("cogenre: ")
    assert done.stderr.count("\n") == 1
