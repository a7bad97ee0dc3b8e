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


def render_markdown(findings: Findings) -> str:
    """Return the content of `report.md`."""
    parts = [
        "# Evaluation of the model",
        describe_measurement(findings),
        "## With lyrics and without",
        METRICS_NOTE,
        _group_table(findings),
        "## Genres",
        describe_missing_genres(findings),
        _genre_table(findings),
        f"Expected calibration error, over every decision: {findings.calibration.error:.3f}.",
        "## Confusions between genres",
        _confusion_table(findings),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _group_table(findings: Findings) -> str:
    metrics = list(findings.groups[0].metrics)
    return markdown_table(
        ["", "tracks", *metrics],
        [
            [group.name, f"{group.tracks:,}", *(_format_estimate(group.metrics[name]) for name in metrics)]
            for group in findings.groups
        ],
        numbers=True,
    )


def _genre_table(findings: Findings) -> str:
    return markdown_table(
        ["genre", "tracks", "accepted", "threshold", "f1", "average precision", "lyrics dropped", "roc auc"],
        [
            [
                finding.genre.slug,
                f"{finding.tracks:,}",
                f"{finding.accepted:,}",
                f"{finding.threshold:.3f}",
                _format_estimate(finding.f1),
                _format_estimate(finding.average_precision),
                _format_estimate(finding.average_precision_lyrics_dropped),
                _format_estimate(finding.roc_auc),
            ]
            for finding in findings.genres
        ],
        numbers=True,
    )


def _confusion_table(findings: Findings) -> str:
    if not findings.confusions:
        return "None."
    return markdown_table(
        ["missed", "tracks", "predicted instead", "share of the missed genre's tracks"],
        [
            [pair.missed, f"{pair.tracks:,}", pair.predicted, f"{pair.share:.1%}"]
            for pair in findings.confusions[:MAX_CONFUSIONS]
        ],
        numbers=True,
    )


def _format_estimate(estimate: Estimate) -> str:
    return "" if estimate.value is None else f"{format_value(estimate.value)} ({format_interval(estimate)})"
