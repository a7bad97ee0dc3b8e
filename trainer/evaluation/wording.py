"""What page and Markdown both say."""

from trainer.evaluation.findings import Estimate, Findings

METRICS_NOTE = (
    "Accuracy and f1 are of each track's label set (intersection over union; F1), averaged over tracks; "
    "micro f1 counts all labels alike; macro f1, map (mean average precision) and roc auc average over "
    "genres; subset accuracy: all labels of a track right."
)


def what(found: Findings) -> str:
    """What was measured on what, in a few sentences."""
    text = (
        f"A model trained on {found.trained_on}, measured on the split {found.split} of {found.data_set}, at "
        "the thresholds that were fitted on validation. "
        f"Intervals: {found.level:.0%}, by {found.resamples:,} bootstrap resamples of the tracks."
    )
    if found.left_out:
        why = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items())
        text += f" Left out, by reason: {why}."
    if found.synthetic:
        text += (
            " The music trained on was made by a program: these numbers never stand beside those of "
            "models of real music."
        )
    return text


def genres_note(found: Findings) -> str:
    """The genres about which the tracks say nothing."""
    unseen = [one.genre.slug for one in found.genres if not one.tracks]
    if not unseen:
        return ""
    return f"No track has {', '.join(unseen)}: nothing to rank, and macro f1 counts 0 for each of these."


def value_text(value: float | None) -> str:
    """Empty where it is not defined."""
    return "" if value is None else f"{value:.3f}"


def interval_text(found: Estimate) -> str:
    return "" if found.low is None else f"{found.low:.3f}–{found.high:.3f}"
