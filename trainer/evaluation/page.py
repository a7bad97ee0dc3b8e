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


def render_html(findings: Findings) -> str:
    """Return the content of `report.html`."""
    most_frequent = sorted(range(len(findings.genres)), key=lambda at: -findings.genres[at].tracks)[
        :MAX_GENRES
    ]
    slugs = [finding.genre.slug for finding in findings.genres]
    parts = [
        _key_figures(findings),
        section(
            "With lyrics and without",
            "Points are values, lines their confidence intervals. " + METRICS_NOTE,
            charts.draw_groups(findings.groups, HEADLINE_METRICS),
            _group_table(findings),
        ),
        section(
            "Genres",
            "How well the scores rank the tracks of each genre. In brackets: the tracks that have it. "
            + describe_missing_genres(findings),
            *charts.draw_genres(findings.genres),
            _genre_table(findings.genres),
        ),
        section(
            "Precision and recall",
            "Each genre at every threshold, with its average precision. The dot marks the threshold in use, "
            "the grey line the precision of random scores.",
            *charts.draw_curves(findings.genres, findings.tracks),
        ),
        section(
            "Calibration",
            "On the line, a score of 0.8 is correct eight times out of ten. Expected calibration error: "
            f"{findings.calibration.error:.3f}, over all decisions (one per track and genre).",
            charts.draw_calibration(findings.calibration),
        ),
        section(
            "Genres that occur together",
            "The genre graph A that the network is given (from the training split and the names), the share "
            "of the row's tracks in this split that also have the column, and the similarities that the "
            "network learned. A grey row has no track.",
            charts.draw_graphs(findings.graphs, slugs, most_frequent),
        ),
        section(
            "Confusions between genres",
            "Tracks for which one genre was missed and another predicted instead.",
            charts.draw_confusions(findings.confusions, [slugs[at] for at in most_frequent]),
            _confusion_table(findings),
        ),
    ]
    return render_page("Evaluation of the model", describe_measurement(findings), parts, STYLE)


def _key_figures(findings: Findings) -> str:
    metrics = findings.groups[0].metrics
    figures = {
        "tracks": f"{findings.tracks:,}",
        "genres": f"{len(findings.genres):,}",
        "accuracy": format_value(metrics["accuracy"].value),
        "F1": format_value(metrics["f1"].value),
        "mAP": format_value(metrics["map"].value),
        "calibration error": f"{findings.calibration.error:.3f}",
    }
    return key_figures(figures)


def _group_table(findings: Findings) -> str:
    metrics = list(findings.groups[0].metrics)
    return table(
        ["", "tracks", *(metric.replace("_", " ") for metric in metrics)],
        [
            [
                group.name,
                group.tracks,
                *(_format_estimate(group.metrics[name]) for name in metrics),
            ]
            for group in findings.groups
        ],
    )


def _genre_table(genres: Sequence[GenreFinding]) -> str:
    return table(
        (
            *("genre", "tracks", "accepted", "threshold", "precision", "recall", "f1", "average precision"),
            *("lyrics dropped", "roc auc", "calibration error"),
        ),
        [
            [
                finding.genre.name,
                finding.tracks,
                finding.accepted,
                finding.threshold,
                FormattedNumber(format_value(finding.precision)),
                FormattedNumber(format_value(finding.recall)),
                _format_estimate(finding.f1),
                _format_estimate(finding.average_precision),
                _format_estimate(finding.average_precision_lyrics_dropped),
                _format_estimate(finding.roc_auc),
                finding.calibration_error,
            ]
            for finding in genres
        ],
    )


def _confusion_table(findings: Findings) -> str:
    return table(
        ["missed", "predicted instead", "tracks", "share of the missed genre's tracks"],
        [
            [pair.missed, pair.predicted, pair.tracks, FormattedNumber(f"{pair.share:.1%}")]
            for pair in findings.confusions[:MAX_CONFUSIONS]
        ],
    )


def _format_estimate(estimate: Estimate) -> FormattedNumber:
    return FormattedNumber(format_value(estimate.value), format_interval(estimate))
