"""The evaluation on one page that needs nothing else, to read, print and send on."""

import html
from collections.abc import Sequence

from trainer.evaluation import charts
from trainer.evaluation.findings import Estimate, Findings, GenreFinding
from trainer.evaluation.wording import METRICS_NOTE, genres_note, interval_text, value_text, what

MOST_GENRES = 40
"""In a heat map: the commonest."""
MOST_CONFUSIONS = 15
SHOWN = ("accuracy", "f1", "map")
"""Metrics of the chart, and in the terminal; the tables have all."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>How good the model is</title>
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
td.number {{ white-space: nowrap; }}
.chart {{ width: 100%; height: auto; max-height: 60rem; }}
@media screen and (max-width: 40rem) {{ .chart {{ min-width: 36rem; }} }}
.note, small {{ color: #666; font-size: .9rem; }}
small {{ display: block; font-size: .75rem; }}
@media print {{
body {{ max-width: none; font-size: 11pt; }}
.chart, tr, h2, .note {{ break-inside: avoid; break-after: avoid; }}
.chart, tr {{ break-after: auto; }}
table {{ font-size: 7pt; }}
th, td {{ padding-right: .4rem; }}
small {{ font-size: 6pt; }}
}}
</style>
</head>
<body>
<h1>How good the model is</h1>
<p class="note">{what}</p>
{body}
</body>
</html>
"""


def render(found: Findings) -> str:
    """The page."""
    commonest = sorted(range(len(found.genres)), key=lambda at: -found.genres[at].tracks)[:MOST_GENRES]
    slugs = [one.genre.slug for one in found.genres]
    parts = [
        _figures(found),
        _section(
            "With lyrics and without",
            "Points are the values, lines their intervals. " + METRICS_NOTE,
            charts.groups(found.groups, SHOWN),
            _groups(found),
        ),
        _section(
            "Genres",
            "How well the scores rank the tracks of each genre. In brackets: the tracks that have it. "
            + genres_note(found),
            *charts.genres(found.genres),
            _genres(found.genres),
        ),
        _section(
            "Precision and recall",
            "Each genre's scores at every threshold, with the average precision. The dot is the threshold in "
            "use, the grey line what guessing would reach.",
            *charts.curves(found.genres, found.tracks),
        ),
        _section(
            "Calibration",
            "On the line, a score of 0.8 is right eight times of ten. Expected calibration error: "
            f"{found.calibration.error:.3f}, over every decision of a track and a genre.",
            charts.calibration(found.calibration),
        ),
        _section(
            "Genres that go together",
            "The graph that the network is given (A, of the training split and the names), beside the share "
            "of the row's tracks here that have the column too, and what the network has learned. "
            "A grey row has no track.",
            charts.graphs(found.graphs, slugs, commonest),
        ),
        _section(
            "Confusions between genres",
            "Tracks of which one genre was missed and another given instead.",
            charts.confusions(found.confusions, [slugs[at] for at in commonest]),
            _confusions(found),
        ),
    ]
    return PAGE.format(what=html.escape(what(found)), body="\n".join(parts))


def _figures(found: Findings) -> str:
    metrics = found.groups[0].metrics
    figures = {
        "tracks": f"{found.tracks:,}",
        "genres": f"{len(found.genres):,}",
        "accuracy": value_text(metrics["accuracy"].value),
        "F1": value_text(metrics["f1"].value),
        "mAP": value_text(metrics["map"].value),
        "calibration error": f"{found.calibration.error:.3f}",
    }
    items = "".join(f"<div><strong>{value}</strong>{name}</div>" for name, value in figures.items())
    return f'<div class="figures">{items}</div>'


def _groups(found: Findings) -> str:
    metrics = list(found.groups[0].metrics)
    return _table(
        ["", "tracks", *(metric.replace("_", " ") for metric in metrics)],
        [
            [
                html.escape(group.name),
                f"{group.tracks:,}",
                *(_estimate(group.metrics[name]) for name in metrics),
            ]
            for group in found.groups
        ],
    )


def _genres(found: Sequence[GenreFinding]) -> str:
    return _table(
        (
            *("genre", "tracks", "given", "threshold", "precision", "recall", "f1", "average precision"),
            *("lyrics withheld", "roc auc", "calibration error"),
        ),
        [
            [
                html.escape(one.genre.name),
                f"{one.tracks:,}",
                f"{one.accepted:,}",
                f"{one.threshold:.3f}",
                value_text(one.precision),
                value_text(one.recall),
                _estimate(one.f1),
                _estimate(one.average_precision),
                _estimate(one.average_precision_withheld),
                _estimate(one.roc_auc),
                f"{one.calibration_error:.3f}",
            ]
            for one in found
        ],
    )


def _confusions(found: Findings) -> str:
    if not found.confusions:
        return "<p>None.</p>"
    rows = [
        [one.missed, one.given, f"{one.tracks:,}", f"{one.share:.1%}"]
        for one in found.confusions[:MOST_CONFUSIONS]
    ]
    return _table(["missed", "given instead", "tracks", "of the missed genre's"], rows)


def _section(title: str, note: str, *parts: str) -> str:
    head = f'<h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
    # What is wider than a phone scrolls by itself, and the page does not.
    wide = "".join(f'<div class="scroll">{part}</div>' for part in parts)
    return f"<section>{head}{wide}</section>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Of cells that are HTML; those of numbers stand to the right."""
    numbers = [all(row[at][:1].isdigit() or not row[at] for row in rows) for at in range(len(columns))]
    kind = [' class="number"' if number else "" for number in numbers]
    head = "".join(f"<th{own}>{html.escape(column)}</th>" for own, column in zip(kind, columns, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{own}>{cell}</td>" for own, cell in zip(kind, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _estimate(found: Estimate) -> str:
    if found.value is None:
        return ""
    return f"{value_text(found.value)}<small>{interval_text(found)}</small>"
