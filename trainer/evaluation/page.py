"""The evaluation on one page that needs nothing else, to read, print and send on."""

from collections.abc import Sequence

from report.page import FormattedNumber, key_figures, render_page, section, table
from trainer.evaluation import charts
from trainer.evaluation.findings import Estimate, Findings, GenreFinding
from trainer.evaluation.wording import METRICS_NOTE, genres_note, interval_text, value_text, what

MOST_GENRES = 40
"""In a heat map: the commonest."""
MOST_CONFUSIONS = 15
SHOWN = ("accuracy", "f1", "map")
"""Metrics of the chart, and in the terminal; the tables have all."""

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
    """The page."""
    commonest = sorted(range(len(found.genres)), key=lambda at: -found.genres[at].tracks)[:MOST_GENRES]
    slugs = [one.genre.slug for one in found.genres]
    parts = [
        _figures(found),
        section(
            "With lyrics and without",
            "Points are the values, lines their intervals. " + METRICS_NOTE,
            charts.groups(found.groups, SHOWN),
            _groups(found),
        ),
        section(
            "Genres",
            "How well the scores rank the tracks of each genre. In brackets: the tracks that have it. "
            + genres_note(found),
            *charts.genres(found.genres),
            _genres(found.genres),
        ),
        section(
            "Precision and recall",
            "Each genre's scores at every threshold, with the average precision. The dot is the threshold in "
            "use, the grey line what guessing would reach.",
            *charts.curves(found.genres, found.tracks),
        ),
        section(
            "Calibration",
            "On the line, a score of 0.8 is right eight times of ten. Expected calibration error: "
            f"{found.calibration.error:.3f}, over every decision of a track and a genre.",
            charts.calibration(found.calibration),
        ),
        section(
            "Genres that go together",
            "The graph that the network is given (A, of the training split and the names), beside the share "
            "of the row's tracks here that have the column too, and what the network has learned. "
            "A grey row has no track.",
            charts.graphs(found.graphs, slugs, commonest),
        ),
        section(
            "Confusions between genres",
            "Tracks of which one genre was missed and another given instead.",
            charts.confusions(found.confusions, [slugs[at] for at in commonest]),
            _confusions(found),
        ),
    ]
    return render_page("How good the model is", what(found), parts, STYLE)


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
            *("genre", "tracks", "given", "threshold", "precision", "recall", "f1", "average precision"),
            *("lyrics withheld", "roc auc", "calibration error"),
        ),
        [
            [
                one.genre.name,
                one.tracks,
                one.accepted,
                one.threshold,
                FormattedNumber(value_text(one.precision)),
                FormattedNumber(value_text(one.recall)),
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
        ["missed", "given instead", "tracks", "of the missed genre's"],
        [
            [one.missed, one.given, one.tracks, FormattedNumber(f"{one.share:.1%}")]
            for one in found.confusions[:MOST_CONFUSIONS]
        ],
    )


def _estimate(found: Estimate) -> FormattedNumber:
    return FormattedNumber(value_text(found.value), interval_text(found))
