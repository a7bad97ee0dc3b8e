"""One self-contained HTML page: sections, tables and key figures. It loads no script, font or other file."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from numbers import Number

MAX_WIDTH_REM = 56
"""Width of the page's text column."""
MAX_CHART_HEIGHT_REM = 60

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="note">{note}</p>
{body}
</body>
</html>
"""

_STYLE = f"""\
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1rem; \
max-width: {MAX_WIDTH_REM}rem; }}
h1, h2 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; padding: 0; margin: 1rem 0; }}
.figures div {{ min-width: 7rem; }}
.figures strong {{ display: block; font-size: 1.5rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
th, td {{ text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eee; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.chart {{ width: 100%; height: auto; max-height: {MAX_CHART_HEIGHT_REM}rem; }}
@media screen and (max-width: 40rem) {{ .chart {{ min-width: 36rem; }} }}
.note {{ color: #666; font-size: .9rem; }}
@media print {{ body {{ max-width: none; font-size: 11pt; }} }}
"""


@dataclass(frozen=True)
class FormattedNumber:
    """A table cell whose number the caller has formatted. It is aligned to the right, as numbers are."""

    text: str
    interval: str = ""
    """Confidence interval, in small type below the number."""


Cell = str | float | Decimal | datetime | FormattedNumber | None
"""None is an empty cell."""


def render_page(title: str, note: str, parts: Sequence[str], extra_style: str) -> str:
    """Return the page. `title` and `note` are plain text, `parts` HTML, `extra_style` the page's own CSS."""
    return _PAGE.format(
        title=html.escape(title, quote=False),
        note=html.escape(note),
        style=_STYLE + extra_style.strip(),
        body="\n".join(parts),
    )


def section(title: str, note: str, *parts: str) -> str:
    """Return a section with a heading and a note (plain text) above `parts` (HTML)."""
    head = f'<h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
    # A part wider than the screen scrolls in its own box, so that the page does not scroll sideways.
    boxes = "".join(f'<div class="scroll">{part}</div>' for part in parts)
    return f"<section>{head}{boxes}</section>"


def key_figures(figures: Mapping[str, Cell]) -> str:
    """Return the row of large numbers at the top of a page, by caption."""
    items = "".join(
        f"<div><strong>{_cell_html(value)}</strong>{html.escape(caption)}</div>"
        for caption, value in figures.items()
    )
    return f'<div class="figures">{items}</div>'


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], empty: str = "None.") -> str:
    """Return a table, or the paragraph `empty` without rows. Columns with a number are right-aligned."""
    if not rows:
        return f"<p>{html.escape(empty)}</p>"
    css = [
        ' class="number"' if any(isinstance(row[at], Number | FormattedNumber) for row in rows) else ""
        for at in range(len(columns))
    ]
    head = "".join(f"<th{own}>{html.escape(column)}</th>" for own, column in zip(css, columns, strict=True))
    lines = "".join(
        "<tr>"
        + "".join(f"<td{own}>{_cell_html(cell)}</td>" for own, cell in zip(css, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell_html(value: Cell) -> str:
    match value:
        case None:
            return ""
        case FormattedNumber(text, ""):
            return html.escape(text)
        case FormattedNumber(text, interval):
            return f"{html.escape(text)}<small>{html.escape(interval)}</small>"
        case float():
            return f"{value:.3f}"
        case int():
            return f"{value:,}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case _:
            return html.escape(str(value))
