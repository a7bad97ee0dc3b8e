"""Output of rows: a table for people, JSON lines for programs."""

import json
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table


def print_rows(rows: Iterable[dict[str, Any]], as_json: bool, empty: str) -> None:
    """Print rows, which must have the same keys. Without rows a table is replaced by the text `empty`."""
    table: Table | None = None
    for row in rows:
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False, default=str))
            continue
        # Fold long values: a truncated id cannot be used.
        table = table or Table(*(Column(name, overflow="fold") for name in row))
        table.add_row(*map(_cell, row.values()))
    if not as_json:
        Console().print(table or empty)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.3f}"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)
