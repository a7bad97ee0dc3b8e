"""Read a manifest: one row for each track, as CSV, JSON lines or Parquet.

If a `genres.json` is in the same folder, tracks may have only those genres. Otherwise the genres of the
library are all genres of its tracks.
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
from trainer.data.files import table_errors
from trainer.data.genres import GENRES_FILE, genre_slug, genres_from_names, read_genres
from trainer.data.library import Library
from trainer.data.track import Track
from trainer.errors import ManifestError

REQUIRED = [name for name in Track.model_fields if name != "split"]

MAX_LOGGED_ERRORS = 20
"""Maximum number of wrong rows that are logged."""

log = logging.getLogger(__name__)

Row = str | Mapping[str, Any] | ManifestError
"""A line of JSON, cells by column, or the reason why the row cannot be read."""


def read_manifest(path: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """Return the tracks of a manifest, with the splits that it lists.

    `genres`, if given, are used instead of `genres.json`. Raises ManifestError, which names the first wrong
    row; the others are logged.
    """
    beside = path.parent / GENRES_FILE
    allowed = "the checkpoint: remove it, or train with it"
    if genres is None and beside.exists():
        genres, allowed = read_genres(beside), f"{GENRES_FILE}: remove it, or add it there"
    listed = None if genres is None else {genre.slug for genre in genres}
    names: dict[str, str] = {}
    tracks: dict[str, Track] = {}
    columns = set[str]()
    errors: list[str] = []
    for where, row in _read_rows(path):
        try:
            track = _parse_row(row)
            slugs = {genre_slug(name): name for name in track.genres}
            unknown = [] if listed is None else [slug for slug in slugs if slug not in listed]
            if unknown:
                raise ManifestError(f"{unknown[0]} is not a genre of {allowed}")
            if track.track_id in tracks:
                raise ManifestError(
                    f"track_id {track.track_id} is used by an earlier row: give each track its own"
                )
        except ManifestError as error:
            errors.append(f"{where}: {error}")
            continue
        for slug, name in slugs.items():
            names.setdefault(slug, name)
        columns |= track.model_fields_set
        tracks[track.track_id] = track.model_copy(update={"genres": tuple(slugs)})
    _raise_first(path, errors)
    if tracks:
        # A line of JSON may leave out a column that is null, but some line must have it.
        _require_columns(path, columns)
    return Library(
        path.parent, genres_from_names(names) if genres is None else genres, tuple(tracks.values())
    )


def _parse_row(row: Row) -> Track:
    if isinstance(row, ManifestError):
        raise row
    try:
        return Track.model_validate_json(row) if isinstance(row, str) else Track.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(f"{where}: {first['msg']}" if where else str(first["msg"])) from error


def _raise_first(path: Path, errors: Sequence[str]) -> None:
    """Raise the first of `errors`, if there is one, and log up to `MAX_LOGGED_ERRORS`.

    Several are logged so that they can be corrected together.
    """
    if len(errors) > 1:
        log.warning("%s", "\n".join(errors[:MAX_LOGGED_ERRORS]))
        raise ManifestError(
            f"{path}, {errors[0]}; {len(errors) - 1} other rows are wrong too, see the warnings above"
        )
    if errors:
        raise ManifestError(f"{path}, {errors[0]}")


def _read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield each row with its position, such as `line 2`. Raises ManifestError if the file is not a table."""
    try:
        with table_errors(path):
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
        raise ManifestError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error


# Encoding utf-8-sig, because spreadsheets write a byte order mark at the start of a file.


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
                is_complete = None not in row and None not in row.values()
                yield (
                    where,
                    row
                    if is_complete
                    else ManifestError("has a different number of cells than the first line"),
                )
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
    missing = [name for name in REQUIRED if name not in set(columns)]
    if missing:
        raise ManifestError(f"{path} has no column {missing[0]}; required are {', '.join(REQUIRED)}")
