"""Exports a view to Parquet, CSV or JSON lines. A server-side cursor streams the rows."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql
from sqlalchemy import Engine, text

from schemas.errors import ConfigError
from storage.atomic import new_path

BATCH_ROWS = 10_000
"""Number of rows in memory, and in each row group of Parquet."""
LIST_SEPARATOR = ";"
"""Separator of the items of a list in CSV."""

Cursor = psycopg.ServerCursor[tuple[Any, ...]]

VIEWS = text("""
    select relname from pg_class
    where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm') order by 1
""")


def export(engine: Engine, view: str, file: Path) -> int:
    """Write a view of schema `analytics` to a file, in the format of its suffix. Return the number of rows.

    The file is renamed to `file` when it is complete. Raises ConfigError if the view or suffix is unknown, or
    the file cannot be written.
    """
    write = FORMATS.get(file.suffix)
    if write is None:
        raise ConfigError(f"{file}: the name must end in {', '.join(FORMATS)}")
    with engine.connect() as connection:
        views = list(connection.execute(VIEWS).scalars())
        if view not in views:
            raise ConfigError(f"schema analytics has no view {view}; its views: {', '.join(views)}")
        driver = cast("psycopg.Connection[tuple[Any, ...]]", connection.connection.driver_connection)
        with driver.cursor(name="export") as cursor:
            cursor.execute(sql.SQL("select * from analytics.{}").format(sql.Identifier(view)))
            try:
                with new_path(file) as temporary:
                    return write(cursor, temporary)
            except OSError as error:
                raise ConfigError(f"cannot write {file}: {error.strerror}") from None


def _write_parquet(cursor: Cursor, file: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise ConfigError("Parquet needs the extra `analyse`: pip install 'cogenre[analyse]'") from None
    kinds = {
        "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(),
        "float4": pa.float32(), "float8": pa.float64(), "numeric": pa.float64(), "text": pa.string(),
        "date": pa.date32(), "timestamptz": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    fields = []
    for column in cursor.description or ():
        found = psycopg.adapters.types.get(column.type_code)
        # Types without an Arrow counterpart, such as vector, are written as text.
        kind = kinds.get(found.name, pa.string()) if found else pa.string()
        is_list = found is not None and column.type_code == found.array_oid
        fields.append(pa.field(column.name, pa.list_(kind) if is_list else kind))
    schema = pa.schema(fields)
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _fetch_batches(cursor):
            columns = [
                [
                    float(value) if field.type == pa.float64() and value is not None else value
                    for value in values
                ]
                for field, values in zip(schema, zip(*rows, strict=True), strict=True)
            ]
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(rows)
    return count


def _write_csv(cursor: Cursor, file: Path) -> int:
    count = 0
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(_column_names(cursor))
        for rows in _fetch_batches(cursor):
            writer.writerows(
                [LIST_SEPARATOR.join(map(str, value)) if isinstance(value, list) else value for value in row]
                for row in rows
            )
            count += len(rows)
    return count


def _write_json_lines(cursor: Cursor, file: Path) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as out:
        names = _column_names(cursor)
        for rows in _fetch_batches(cursor):
            out.writelines(
                json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str) + "\n"
                for row in rows
            )
            count += len(rows)
    return count


def _column_names(cursor: Cursor) -> list[str]:
    return [column.name for column in cursor.description or ()]


def _fetch_batches(cursor: Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(BATCH_ROWS):
        yield rows


FORMATS: dict[str, Callable[[Cursor, Path], int]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}
