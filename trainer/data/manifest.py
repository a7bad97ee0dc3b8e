"""A manifest: a row a track, as CSV, JSON lines or Parquet.

Where `genres.json` lies beside it, tracks may have those genres only; else the genres are those they have.
"""

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from pydantic import ValidationError

from schemas.bundle import Genre
from trainer.data.genres import GENRES_FILE, named, read_genres, slug_of
from trainer.data.library import Library
from trainer.data.track import Track
from trainer.errors import ManifestError

REQUIRED = [name for name in Track.model_fields if name != "split"]

FAULTS_SHOWN = 20
"""Of the wrong rows of a manifest."""

log = logging.getLogger(__name__)

Row = str | Mapping[str, Any] | ManifestError
"""A line of JSON, or cells by column."""


def read_manifest(path: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """Tracks as the manifest has them, split or not; `genres` go before those of `genres.json`.

    Raises ManifestError, naming the row.
    """
    beside = path.parent / GENRES_FILE
    listing = "the checkpoint: leave it out, or train with it"
    if genres is None and beside.exists():
        genres, listing = read_genres(beside), f"{GENRES_FILE}: leave it out, or list it"
    listed = None if genres is None else {genre.slug for genre in genres}
    names: dict[str, str] = {}
    tracks: dict[str, Track] = {}
    columns = set[str]()
    faults: list[str] = []
    for where, row in _rows(path):
        try:
            track = _track(row)
            slugs = {slug_of(name): name for name in track.genres}
            unknown = [] if listed is None else [slug for slug in slugs if slug not in listed]
            if unknown:
                raise ManifestError(f"{unknown[0]} is not a genre of {listing}")
            if track.track_id in tracks:
                raise ManifestError(f"track_id {track.track_id} came before")
        except ManifestError as error:
            faults.append(f"{where}: {error}")
            continue
        for slug, name in slugs.items():
            names.setdefault(slug, name)
        columns |= track.model_fields_set
        tracks[track.track_id] = track.model_copy(update={"genres": tuple(slugs)})
    _refuse(path, faults)
    if tracks:
        # JSON lines may lack what is null.
        _require_columns(path, columns)
    return Library(path.parent, named(names) if genres is None else genres, tuple(tracks.values()))


def _track(row: Row) -> Track:
    if isinstance(row, ManifestError):
        raise row
    try:
        return Track.model_validate_json(row) if isinstance(row, str) else Track.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(f"{where}: {first['msg']}" if where else str(first["msg"])) from error


def _refuse(path: Path, faults: Sequence[str]) -> None:
    """Whoever mends the manifest wants to know all of them at once: the first ones are logged."""
    if len(faults) > 1:
        log.warning("%s", "\n".join(faults[:FAULTS_SHOWN]))
        raise ManifestError(f"{path}, {faults[0]}; {len(faults) - 1} other rows are wrong too, see above")
    if faults:
        raise ManifestError(f"{path}, {faults[0]}")


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Each row with where it stands."""
    try:
        match path.suffix.lower():
            case ".csv":
                yield from _csv_rows(path)
            case ".parquet":
                yield from _parquet_rows(path)
            case ".jsonl":
                yield from _json_rows(path)
            case _:
                raise ManifestError(f"cannot read {path}: a manifest is .csv, .jsonl or .parquet")
    except pa.ArrowInvalid as error:
        raise ManifestError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise ManifestError(f"cannot read {path} ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 text") from error


# Spreadsheets begin a file with a byte order mark, hence utf-8-sig.


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number}", line


def _csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            _require_columns(path, reader.fieldnames or ())
            for row in reader:
                where = f"line {reader.line_num}"
                whole = None not in row and None not in row.values()
                yield where, row if whole else ManifestError("has other columns than the first line")
        except csv.Error as error:
            raise ManifestError(f"{path}, line {reader.line_num}: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    with parquet.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        _require_columns(path, columns)
        number = 0
        for batch in file.iter_batches(columns=[name for name in columns if name in Track.model_fields]):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def _require_columns(path: Path, columns: Iterable[str]) -> None:
    lacking = [name for name in REQUIRED if name not in set(columns)]
    if lacking:
        raise ManifestError(f"{path} lacks the column {lacking[0]}; it needs {', '.join(REQUIRED)}")
