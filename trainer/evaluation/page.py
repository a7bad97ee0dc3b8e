"""The evaluation as one self-contained HTML page."""

from collections.abc import Sequence

from report.page import FormattedNumber, key_figures, render_page, section, table
from trainer.evaluation import charts
from trainer.evaluation.findings import Estimate, Findings, GenreFinding
from trainer.evaluation.wording import (
    METRICS_NOTE,
    describe_measurement,
    describe_missing_genres,
    format_interval,
    format_value,
)

MAX_GENRES = 40
"""Genres in a heat map: those with the most tracks."""
MAX_CONFUSIONS = 15
"""Rows of the table of confusions."""
HEADLINE_METRICS = ("accuracy", "f1", "map")
"""Metrics in the chart and in the terminal; the tables have all."""

STYLE = """
td.number { white-space: nowrap; }
small { color: #666; display: block; font-size: .75rem; }
@media print {
.chart, tr, h2, .note { break-inside: avoid; break-after: avoid; }
.chart, tr { break-after: auto; }
table { font-size: 7pt; }
th, td { padding-right: .4rem; }
small { font-size: 6pt; }
}
"""


def render(found: Findings) -> str:
    """Return the content of `report.html`."""
    most_frequent = sorted(range(len(found.genres)), key=lambda at: -found.genres[at].tracks)[:MAX_GENRES]
    slugs = [one.genre.slug for one in found.genres]
    parts = [
        _figures(found),
        section(
            "With lyrics and without",
            "Points are values, lines their confidence intervals. " + METRICS_NOTE,
            charts.draw_groups(found.groups, HEADLINE_METRICS),
            _groups(found),
        ),
        section(
            "Genres",
            "How well the scores rank the tracks of each genre. In brackets: the tracks that have it. "
            + describe_missing_genres(found),
            *charts.draw_genres(found.genres),
            _genres(found.genres),
        ),
        section(
            "Precision and recall",
            "Each genre at every threshold, with its average precision. The dot marks the threshold in use, "
            "the grey line the precision of random scores.",
            *charts.draw_curves(found.genres, found.tracks),
        ),
        section(
            "Calibration",
            "On the line, a score of 0.8 is correct eight times out of ten. Expected calibration error: "
            f"{found.calibration.error:.3f}, over all decisions (one per track and genre).",
            charts.draw_calibration(found.calibration),
        ),
        section(
            "Genres that occur together",
            "The genre graph A that the network is given (from the training split and the names), the share "
            "of the row's tracks in this split that also have the column, and the similarities that the "
            "network learned. A grey row has no track.",
            charts.draw_graphs(found.graphs, slugs, most_frequent),
        ),
        section(
            "Confusions between genres",
            "Tracks for which one genre was missed and another predicted instead.",
            charts.draw_confusions(found.confusions, [slugs[at] for at in most_frequent]),
            _confusions(found),
        ),
    ]
    return render_page("Evaluation of the model", describe_measurement(found), parts, STYLE)


def _figures(found: Findings) -> str:
    metrics = found.groups[0].metrics
    figures = {
        "tracks": f"{found.tracks:,}",
        "genres": f"{len(found.genres):,}",
        "accuracy": format_value(metrics["accuracy"].value),
        "F1": format_value(metrics["f1"].value),
        "mAP": format_value(metrics["map"].value),
        "calibration error": f"{found.calibration.error:.3f}",
    }
    return key_figures(figures)


def _groups(found: Findings) -> str:
    metrics = list(found.groups[0].metrics)
    return table(
        ["", "tracks", *(metric.replace("_", " ") for metric in metrics)],
        [
            [
                group.name,
                group.tracks,
                *(_estimate(group.metrics[name]) for name in metrics),
            ]
            for group in found.groups
        ],
    )


def _genres(found: Sequence[GenreFinding]) -> str:
    return table(
        (
            *("genre", "tracks", "accepted", "threshold", "precision", "recall", "f1", "average precision"),
            *("lyrics withheld", "roc auc", "calibration error"),
        ),
        [
            [
                one.genre.name,
                one.tracks,
                one.accepted,
                one.threshold,
                FormattedNumber(format_value(one.precision)),
                FormattedNumber(format_value(one.recall)),
                _estimate(one.f1),
                _estimate(one.average_precision),
                _estimate(one.average_precision_lyrics_dropped),
                _estimate(one.roc_auc),
                one.calibration_error,
            ]
            for one in found
        ],
    )


def _confusions(found: Findings) -> str:
    return table(
        ["missed", "predicted instead", "tracks", "share of the missed genre's tracks"],
        [
            [one.missed, one.predicted, one.tracks, FormattedNumber(f"{one.share:.1%}")]
            for one in found.confusions[:MAX_CONFUSIONS]
        ],
    )


def _estimate(found: Estimate) -> FormattedNumber:
    return FormattedNumber(format_value(found.value), format_interval(found))
