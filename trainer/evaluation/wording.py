"""Sentences and number formats that the page, the Markdown and the terminal share."""

from trainer.evaluation.findings import Estimate, Findings

METRICS_NOTE = (
    "Accuracy and f1 are computed on each track's label set (intersection over union; F1) and averaged over "
    "tracks. micro f1 weighs all labels equally. macro f1, map (mean average precision) and roc auc are "
    "means over genres. subset accuracy is the share of tracks whose label set is entirely correct."
)


def describe_measurement(found: Findings) -> str:
    """Return a few sentences on which model was measured on which tracks, and how."""
    text = (
        f"Model trained on {found.trained_on}, measured on the split {found.split} of {found.data_set}, with "
        "thresholds fitted on validation. "
        f"Intervals: {found.level:.0%}, from {found.resamples:,} bootstrap resamples of the tracks."
    )
    if found.left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items())
        text += f" Tracks left out, by reason: {reasons}."
    if found.synthetic:
        text += (
            " The training music was made by a program: do not compare these numbers with those of models "
            "trained on real music."
        )
    return text


def describe_missing_genres(found: Findings) -> str:
    """Return a sentence on the genres that no measured track has, or an empty string."""
    missing = [one.genre.slug for one in found.genres if not one.tracks]
    if not missing:
        return ""
    return f"No track has {', '.join(missing)}: no ranking metrics, and each counts as 0 in macro f1."


def format_value(value: float | None) -> str:
    """Return the value with three decimals, or an empty string if it is undefined."""
    return "" if value is None else f"{value:.3f}"


def format_interval(found: Estimate) -> str:
    """Return the bounds of the interval, or an empty string if it is undefined."""
    return "" if found.low is None else f"{found.low:.3f}–{found.high:.3f}"
