"""`cogenre catalog report`: the catalog on one page that needs nothing else, to read, print and send on."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from worker.errors import ConfigError

Row = dict[str, Any]

QUESTIONS = {
    "refreshed": "select at from analytics.refreshed",
    "coverage": "select * from analytics.coverage",
    "weeks": "select * from analytics.coverage_week order by week",
    "genres": "select genre, tracks from analytics.genre where tracks > 0 order by tracks desc, genre",
    "pairs": "select * from analytics.belief_and_observation order by n desc, genre_a, genre_b",
    "drift": "select week, genre, share from analytics.genre_week order by week",
    "models": "select model, status, tracks, coverage, agreement from analytics.model order by rank desc",
    "calibration": "select * from analytics.calibration order by mean_score",
    "failures": """
        select stage, error_class, count(*) as jobs, max(failed_at) as latest
        from analytics.failure group by stage, error_class order by jobs desc, stage, error_class limit 20
    """,
}
"""What the page is made of, by name."""

MOST_GENRES = 40
"""In the heat map and the drift: the commonest."""
NOTABLE_WEEKS = 4
"""Drift compares so many last weeks with as many before."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The catalog's genres</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1rem; max-width: 56rem; }}
h1, h2 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; padding: 0; margin: 1rem 0; }}
.figures div {{ min-width: 7rem; }}
.figures strong {{ display: block; font-size: 1.5rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
th, td {{ text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eee; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.chart {{ width: 100%; height: auto; max-height: 60rem; }}
@media screen and (max-width: 40rem) {{ .chart {{ min-width: 36rem; }} }}
.note {{ color: #666; font-size: .9rem; }}
@media print {{ body {{ max-width: none; font-size: 11pt; }} section {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<h1>The catalog's genres</h1>
<p class="note">{when}</p>
{body}
</body>
</html>
"""


def write_report(engine: Engine, file: Path) -> None:
    """Write the page. Raises ConfigError where it cannot be written, or the charts' library is missing."""
    with engine.connect() as connection:
        answers = {name: _rows(connection, question) for name, question in QUESTIONS.items()}
    try:
        page = render(answers, datetime.now(UTC))
    except ModuleNotFoundError:
        raise ConfigError("the report needs the extra `analyse`: pip install 'cogenre[analyse]'") from None
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None


def render(answers: dict[str, list[Row]], now: datetime) -> str:
    """The page for answers to `QUESTIONS`."""
    from worker.catalog import charts

    genres, pairs = answers["genres"], answers["pairs"]
    commonest = [row["genre"] for row in genres[:MOST_GENRES]]
    (coverage,) = answers["coverage"]
    parts = [_figures(coverage, len(genres))]
    if genres:
        parts += [
            _section(
                "Genres",
                "Tracks that carry each genre; a track may carry several.",
                charts.distribution(genres),
            ),
            _section(
                "Genres that go together",
                "Phi, the correlation of two labels over all labelled tracks: red together more often "
                "than if they were independent, blue less often.",
                charts.heat_map(commonest, pairs),
                charts.network(
                    genres[:MOST_GENRES], [p for p in pairs if {p["genre_a"], p["genre_b"]} <= set(commonest)]
                ),
                _table(
                    [p for p in pairs if p["genre_a"] < p["genre_b"] and p["n"]][:15],
                    ["genre_a", "genre_b", "n", "lift", "phi", "belief"],
                ),
            ),
        ]
    if any(pair["belief"] is not None for pair in pairs):
        parts.append(
            _section(
                "What the model believes, and what the catalog shows",
                "A point is an ordered pair of genres. Far above the line: more often together than the "
                "model's genre graph says; far below: less often.",
                charts.belief(pairs),
            )
        )
    parts.append(_calibration(answers["calibration"]))
    if answers["weeks"]:
        parts.append(
            _section(
                "Coverage and failures",
                "Tracks by the week of their ingest.",
                charts.coverage(answers["weeks"]),
                _table(
                    answers["failures"], ["stage", "error_class", "jobs", "latest"], "No failure is open."
                ),
            )
        )
    if genres and answers["drift"]:
        parts.append(
            _section(
                "Drift, week on week",
                "Each genre's share of the tracks ingested, on a scale of its own. The table has the largest "
                f"changes between the last {NOTABLE_WEEKS} weeks and the {NOTABLE_WEEKS} before.",
                charts.drift(answers["drift"], commonest),
                _table(_changes(answers["drift"]), ["genre", "before", "now", "change"], "Too few weeks."),
            )
        )
    parts.append(
        _section(
            "Models",
            "Agreement: labels in common with the current model, of all on tracks that both classified.",
            _table(answers["models"], ["model", "status", "tracks", "coverage", "agreement"]),
        )
    )
    refreshed = answers["refreshed"][0]["at"]
    when = f"Written {now:%Y-%m-%d %H:%M} UTC, from counts refreshed {refreshed:%Y-%m-%d %H:%M} UTC."
    return PAGE.format(when=when, body="\n".join(parts))


def _calibration(bins: Sequence[Row]) -> str:
    from worker.catalog import charts

    title = "Scores, and what people say"
    if not bins:
        return _section(title, "Nobody has judged a label yet: `cogenre feedback add`.")
    return _section(
        title,
        "On the line, a score of 0.8 is right eight times of ten. The numbers are verdicts.",
        charts.calibration(bins),
    )


def _changes(weeks: Sequence[Row]) -> list[Row]:
    """The genres whose mean share changed most. The week under way is left out: it is not whole."""
    days = sorted({row["week"] for row in weeks})[:-1]
    now, before = set(days[-NOTABLE_WEEKS:]), set(days[-2 * NOTABLE_WEEKS : -NOTABLE_WEEKS])
    if len(before) < NOTABLE_WEEKS:
        return []
    rows = []
    for genre in sorted({row["genre"] for row in weeks}):
        then, lately = (
            sum(row["share"] for row in weeks if row["genre"] == genre and row["week"] in chosen)
            / NOTABLE_WEEKS
            for chosen in (before, now)
        )
        rows.append({"genre": genre, "before": then, "now": lately, "change": lately - then})
    return sorted(rows, key=lambda row: -abs(row["change"]))[:8]


def _figures(coverage: Row, genres: int) -> str:
    figures = {
        "tracks": coverage["registered"],
        "with labels": f"{coverage['share'] or 0:.1%}",
        "failed": coverage["failed"],
        "waiting": coverage["waiting"],
        "genres": genres,
    }
    items = "".join(f"<div><strong>{_cell(value)}</strong>{name}</div>" for name, value in figures.items())
    return f'<div class="figures">{items}</div>'


def _section(title: str, note: str, *parts: str) -> str:
    head = f'<h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
    # What is wider than a phone scrolls by itself, and the page does not.
    wide = "".join(f'<div class="scroll">{part}</div>' for part in parts)
    return f"<section>{head}{wide}</section>"


def _table(rows: Sequence[Row], columns: Sequence[str], empty: str = "None.") -> str:
    if not rows:
        return f"<p>{html.escape(empty)}</p>"
    numbers = {column for column in columns if any(isinstance(row[column], int | float) for row in rows)}
    kind = {column: ' class="number"' if column in numbers else "" for column in columns}
    head = "".join(f"<th{kind[column]}>{html.escape(column.replace('_', ' '))}</th>" for column in columns)
    lines = "".join(
        "<tr>"
        + "".join(f"<td{kind[column]}>{html.escape(_cell(row[column]))}</td>" for column in columns)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.3f}"
        case int():
            return f"{value:,}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case _:
            return str(value)


def _rows(connection: Connection, question: str) -> list[Row]:
    return [dict(row) for row in connection.execute(text(question)).mappings()]
