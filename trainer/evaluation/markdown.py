"""The evaluation's tables as Markdown, for a repository or a ticket."""

from report.markdown import markdown_table
from trainer.evaluation.findings import Estimate, Findings
from trainer.evaluation.page import MAX_CONFUSIONS
from trainer.evaluation.wording import (
    METRICS_NOTE,
    describe_measurement,
    describe_missing_genres,
    format_interval,
    format_value,
)


def markdown(found: Findings) -> str:
    """Return the content of `report.md`."""
    parts = [
        "# Evaluation of the model",
        describe_measurement(found),
        "## With lyrics and without",
        METRICS_NOTE,
        _groups(found),
        "## Genres",
        describe_missing_genres(found),
        _genres(found),
        f"Expected calibration error, over every decision: {found.calibration.error:.3f}.",
        "## Confusions between genres",
        _confusions(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _groups(found: Findings) -> str:
    metrics = list(found.groups[0].metrics)
    return markdown_table(
        ["", "tracks", *metrics],
        [
            [group.name, f"{group.tracks:,}", *(_estimate(group.metrics[name]) for name in metrics)]
            for group in found.groups
        ],
        numbers=True,
    )


def _genres(found: Findings) -> str:
    return markdown_table(
        ["genre", "tracks", "accepted", "threshold", "f1", "average precision", "lyrics withheld", "roc auc"],
        [
            [
                one.genre.slug,
                f"{one.tracks:,}",
                f"{one.accepted:,}",
                f"{one.threshold:.3f}",
                _estimate(one.f1),
                _estimate(one.average_precision),
                _estimate(one.average_precision_lyrics_dropped),
                _estimate(one.roc_auc),
            ]
            for one in found.genres
        ],
        numbers=True,
    )


def _confusions(found: Findings) -> str:
    if not found.confusions:
        return "None."
    return markdown_table(
        ["missed", "tracks", "predicted instead", "share of the missed genre's tracks"],
        [
            [one.missed, f"{one.tracks:,}", one.predicted, f"{one.share:.1%}"]
            for one in found.confusions[:MAX_CONFUSIONS]
        ],
        numbers=True,
    )


def _estimate(found: Estimate) -> str:
    return "" if found.value is None else f"{format_value(found.value)} ({format_interval(found)})"
