"""Commands that only query start fast. Each runs as a process that lists the modules it has loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.worker.catalog.labels import model

RUN = """
import json, sys
from worker.cli import main
modules, sys.argv = sys.argv[1], ["cogenre", *sys.argv[2:]]
try:
    main()
finally:
    with open(modules, "w") as file:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), file)
"""

INFERENCE = {"onnxruntime", "av", "tokenizers", "numpy"}
SERVERS = {"sqlalchemy", "psycopg", "alembic", "redis", "celery", "kombu", "boto3", "botocore"}
CELERY = {"celery", "kombu"}
S3 = {"boto3", "botocore"}

JOB = {
    "schema_version": 1,
    "track_id": "t1",
    "audio": {"bucket": "music", "key": "t1.mp3"},
    "enqueued_at": "2026-01-05T00:00:00Z",
}


def loaded_modules(folder: Path, *arguments: str) -> set[str]:
    """Run a command that must succeed, and return the top-level modules that it has loaded."""
    modules = folder / "modules.json"
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(modules), *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(modules.read_text()))


def test_help_loads_no_driver(tmp_path: Path) -> None:
    assert loaded_modules(tmp_path, "--help").isdisjoint(INFERENCE | SERVERS | {"pydantic"})


def test_a_dry_run_of_enqueue_loads_no_driver(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps(JOB))
    assert loaded_modules(tmp_path, "enqueue", "--dry-run", str(jobs)).isdisjoint(INFERENCE | SERVERS)


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["failures", "list"],
        ["reconcile", "--dry-run"],
        ["models", "list"],
        ["catalog", "genres"],
        ["catalog", "search", "--genre", "rock"],
        ["catalog", "unlabelled"],
        ["catalog", "dictionary"],
    ],
    ids=" ".join,
)
def test_a_command_that_asks_loads_no_celery_and_no_alembic(
    catalog: Engine, tmp_path: Path, command: list[str]
) -> None:
    model(catalog)
    modules = loaded_modules(tmp_path, *command)
    assert "sqlalchemy" in modules, "it asks the catalog"
    assert modules.isdisjoint(INFERENCE | CELERY | S3 | {"alembic"})


@pytest.mark.parametrize(
    "command",
    [["reconcile"], ["backfill", "--model", "small:1", "--unserved"]],
    ids=" ".join,
)
def test_a_command_that_publishes_loads_no_inference_and_no_s3(
    catalog: Engine, tmp_path: Path, command: list[str]
) -> None:
    model(catalog)
    assert loaded_modules(tmp_path, *command).isdisjoint(INFERENCE | S3 | {"alembic"})


def test_enqueue_loads_no_inference_and_no_s3(catalog: Engine, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps(JOB))
    assert loaded_modules(tmp_path, "enqueue", str(jobs)).isdisjoint(INFERENCE | S3 | {"alembic"})
