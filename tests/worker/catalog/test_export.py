"""A view as a file, in each format."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from schemas.errors import ConfigError
from tests.worker.catalog.labels import model, rows
from worker.catalog import export as exporting
from worker.catalog.export import export
from worker.catalog.refresh import refresh


@pytest.fixture
def labelled(catalog: Engine) -> Engine:
    fake = model(catalog)
    fake.label("t1", rock=0.9, pop=0.75)
    fake.label("t2", jazz=0.5)
    fake.label("t3")
    refresh(catalog)
    return catalog


def test_parquet_keeps_the_types(labelled: Engine, tmp_path: Path) -> None:
    assert export(labelled, "track", tmp_path / "tracks.parquet") == 3
    table = pq.read_table(tmp_path / "tracks.parquet")
    assert table.schema.field("genres").type == pa.list_(pa.string())
    assert table.schema.field("scores").type == pa.list_(pa.float32())
    assert table.schema.field("registered_at").type == pa.timestamp("us", tz="UTC")
    first, _, last = sorted(table.to_pylist(), key=lambda row: row["track_id"])
    assert first["genres"] == ["rock", "pop"]
    assert first["scores"] == pytest.approx([0.9, 0.75])
    assert first["registered_at"] <= datetime.now(UTC)
    assert (last["genres"], last["album"]) == ([], None)


@pytest.mark.parametrize("batch", [1, 2, 3, 10_000])
def test_any_number_of_batches(
    labelled: Engine, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BATCH_ROWS", batch)
    for name in ("labels.parquet", "labels.csv", "labels.jsonl"):
        assert export(labelled, "label", tmp_path / name) == 3
    assert pq.read_table(tmp_path / "labels.parquet").num_rows == 3


def test_csv_and_json_lines(labelled: Engine, tmp_path: Path) -> None:
    export(labelled, "track", tmp_path / "tracks.csv")
    export(labelled, "track", tmp_path / "tracks.jsonl")
    with (tmp_path / "tracks.csv").open(newline="") as file:
        lines = {line["track_id"]: line for line in csv.DictReader(file)}
    assert lines["t1"]["genres"] == "rock;pop"
    tracks = [json.loads(line) for line in (tmp_path / "tracks.jsonl").read_text().splitlines()]
    assert {track["track_id"]: track["genres"] for track in tracks} == {
        "t1": ["rock", "pop"],
        "t2": ["jazz"],
        "t3": [],
    }


def test_every_view_can_be_exported(labelled: Engine, tmp_path: Path) -> None:
    names = rows(
        labelled,
        "select relname from pg_class "
        "where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm') order by 1",
    )
    for (name,) in names:
        for suffix in exporting.FORMATS:
            export(labelled, name, tmp_path / f"{name}{suffix}")
    assert len(list(tmp_path.iterdir())) == len(names) * 3


def test_a_failed_export_raises_an_error_and_leaves_no_file(labelled: Engine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in .parquet, .csv, .jsonl"):
        export(labelled, "track", tmp_path / "tracks.xlsx")
    with pytest.raises(ConfigError, match=r"no view tracks; its views: calibration, compared_track"):
        export(labelled, "tracks", tmp_path / "tracks.csv")
    with pytest.raises(ConfigError, match=r"cannot write .*No such file or directory"):
        export(labelled, "track", tmp_path / "none" / "tracks.csv")
    assert list(tmp_path.iterdir()) == []
