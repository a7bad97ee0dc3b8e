"""The evaluation as Markdown: its tables, for a repository or a ticket."""

from report.markdown import markdown_table
from trainer.evaluation.findings import Estimate, Findings
from trainer.evaluation.page import MOST_CONFUSIONS
from trainer.evaluation.wording import METRICS_NOTE, genres_note, interval_text, value_text, what


def markdown(found: Findings) -> str:
    """`report.md`"""
    parts = [
        "# How good the model is",
        what(found),
        "## With lyrics and without",
        METRICS_NOTE,
        _groups(found),
        "## Genres",
        genres_note(found),
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
        ["genre", "tracks", "given", "threshold", "f1", "average precision", "lyrics withheld", "roc auc"],
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
        ["missed", "tracks", "given instead", "share of the missed genre's"],
        [
            [one.missed, f"{one.tracks:,}", one.given, f"{one.share:.1%}"]
            for one in found.confusions[:MOST_CONFUSIONS]
        ],
        numbers=True,
    )


def _estimate(found: Estimate) -> str:
    return "" if found.value is None else f"{value_text(found.value)} ({interval_text(found)})"
