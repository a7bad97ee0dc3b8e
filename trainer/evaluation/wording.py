"""Sentences and number formats that the page, the Markdown and the terminal share."""

from trainer.evaluation.findings import Estimate, Findings

METRICS_NOTE = (
    "Accuracy and f1 are computed on each track's label set (intersection over union; F1) and averaged over "
    "tracks. micro f1 weighs all labels equally. macro f1, map (mean average precision) and roc auc are "
    "means over genres. subset accuracy is the share of tracks whose label set is entirely correct."
)


def describe_measurement(findings: Findings) -> str:
    """Return sentences that name the model, the measured tracks and the method."""
    text = (
        f"Model trained on {findings.trained_on}, measured on the split {findings.split} of "
        f"{findings.data_set}, with thresholds fitted on validation. "
        f"Intervals: {findings.level:.0%}, from {findings.resamples:,} bootstrap resamples of the tracks."
    )
    if findings.left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in findings.left_out.items())
        text += f" Tracks left out, by reason: {reasons}."
    if findings.synthetic:
        text += (
            " The training music was made by a program: do not compare these numbers with those of models "
            "trained on real music."
        )
    return text


def describe_missing_genres(findings: Findings) -> str:
    """Return a sentence on the genres that no measured track has, or an empty string."""
    missing = [finding.genre.slug for finding in findings.genres if not finding.tracks]
    if not missing:
        return ""
    return f"No track has {', '.join(missing)}: no ranking metrics, and each counts as 0 in macro f1."


def format_value(value: float | None) -> str:
    """Return the value with three decimals, or an empty string if it is undefined."""
    return "" if value is None else f"{value:.3f}"


def format_interval(estimate: Estimate) -> str:
    """Return the bounds of the interval, or an empty string if it is undefined."""
    return "" if estimate.low is None else f"{estimate.low:.3f}–{estimate.high:.3f}"
