"""The evaluation as Markdown: its tables, for a repository or a ticket."""

from collections.abc import Sequence

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
    return _table(
        ["", "tracks", *metrics],
        [
            [group.name, f"{group.tracks:,}", *(_estimate(group.metrics[name]) for name in metrics)]
            for group in found.groups
        ],
    )


def _genres(found: Findings) -> str:
    return _table(
        ["genre", "tracks", "given", "threshold", "f1", "average precision", "lyrics withheld", "roc auc"],
        [
            [
                one.genre.slug,
                f"{one.tracks:,}",
                f"{one.accepted:,}",
                f"{one.threshold:.3f}",
                _estimate(one.f1),
                _estimate(one.average_precision),
                _estimate(one.average_precision_withheld),
                _estimate(one.roc_auc),
            ]
            for one in found.genres
        ],
    )


def _confusions(found: Findings) -> str:
    if not found.confusions:
        return "None."
    return _table(
        ["missed", "tracks", "given instead", "share of the missed genre's"],
        [
            [one.missed, f"{one.tracks:,}", one.given, f"{one.share:.1%}"]
            for one in found.confusions[:MOST_CONFUSIONS]
        ],
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is of words, the others stand to the right."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _estimate(found: Estimate) -> str:
    return "" if found.value is None else f"{value_text(found.value)} ({interval_text(found)})"
