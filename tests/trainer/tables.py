"""Write small manifests in every format."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

DEFAULTS = {"audio": "x.wav", "lyrics": None, "genres": ["rock"], "artist": None, "language": None}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> Path:
    """Write `rows`, completed by `DEFAULTS`, in the format of the ending of `path`, and return `path`."""
    rows = [
        {key: value for key, value in (DEFAULTS | dict(row)).items() if key not in without} for row in rows
    ]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return path


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value
