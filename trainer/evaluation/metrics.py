"""Label sets from probabilities, by the same rule as the worker, and their metrics."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multilabel_exact_match,
    multilabel_f1_score,
)

from schemas.bundle import Genre
from schemas.labels import LabelRule

DEFAULT_THRESHOLD = 0.5
"""Threshold of a genre that no track, or every track, of the split has."""

THRESHOLD_RESAMPLES = 100
"""Bootstrap resamples of the tracks over which thresholds are averaged."""


def mean_over_windows(windows: Tensor, track_row: Tensor) -> Tensor:
    """Return each track's mean over its windows: (windows, genres) to (tracks, genres).

    `track_row` (windows,) is the row of the track that each window belongs to, ascending from 0.
    """
    counts = torch.bincount(track_row)
    sums = torch.zeros(len(counts), windows.shape[1], dtype=windows.dtype).index_add(0, track_row, windows)
    return sums / counts[:, None]


def best_f1_thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the threshold of each genre, (genres,), from probabilities and labels (tracks, genres).

    It is the threshold with the highest F1, averaged over resamples of the tracks (bagging: Breiman, 1996).
    Fitted once, the threshold of a rare genre would depend on the scores of a few tracks.
    """
    generator = torch.Generator().manual_seed(0)
    tracks = len(labels)
    thresholds = []
    for _ in range(THRESHOLD_RESAMPLES):
        rows = torch.randint(tracks, (tracks,), generator=generator)
        genres = zip(probabilities[rows].T, labels[rows].T, strict=True)
        thresholds.append(torch.stack([best_f1_threshold(scores, truth) for scores, truth in genres]))
    return torch.stack(thresholds).nanmean(0).nan_to_num(DEFAULT_THRESHOLD)


def best_f1_threshold(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return one genre's threshold with the highest F1 from its probabilities and labels, both (tracks,).

    It lies half-way between the lowest accepted score and the next lower one. NaN if no track, or every
    track, has the genre.
    """
    positives = labels.sum()
    if positives in (0, len(labels)):
        return torch.tensor(torch.nan)
    scores, order = probabilities.sort(descending=True)
    hits = labels[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(labels) + 1) + positives)
    below = torch.cat([scores[1:], torch.zeros(1)])
    # No threshold separates equal scores.
    f1[scores == below] = 0
    best = f1.argmax()
    return (scores[best] + below[best]) / 2


def accept_genres(probabilities: Tensor, thresholds: Tensor, genres: Sequence[Genre]) -> Tensor:
    """Return the accepted genres (tracks, genres), bool: those at or above their threshold, and parents."""
    return torch.from_numpy(LabelRule(genres, thresholds.numpy()).accept_genres(probabilities.numpy()))


def compute_metrics(probabilities: Tensor, accepted: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the metrics of the label sets `accepted` and of the ranking by `probabilities`, by name.

    All tensors are (tracks, genres).

    accuracy, f1         example-based: intersection over union, and F1, of each track's sets, averaged
    micro_f1             F1 over all labels of all tracks
    macro_f1             mean of the genres' F1
    subset_accuracy      share of tracks whose set is entirely correct
    map, roc_auc         means over the genres that some tracks have and others lack
    """
    truth = labels.long()
    predicted = accepted.long()
    shared = (predicted & truth).sum(1).double()
    union = (predicted | truth).sum(1).double()
    sizes = (predicted.sum(1) + truth.sum(1)).double()
    count = labels.shape[1]
    metrics = {
        # Two empty sets count as equal.
        "accuracy": torch.where(union > 0, shared / union.clamp(min=1), 1.0).mean(),
        "f1": torch.where(sizes > 0, 2 * shared / sizes.clamp(min=1), 1.0).mean(),
        "micro_f1": multilabel_f1_score(predicted, truth, count, average="micro"),
        "macro_f1": multilabel_f1_score(predicted, truth, count, average="macro"),
        "subset_accuracy": multilabel_exact_match(predicted, truth, count),
        "map": _mean_over_genres(binary_average_precision, probabilities, truth),
        "roc_auc": _mean_over_genres(binary_auroc, probabilities, truth),
    }
    return {name: round(float(value), 6) for name, value in metrics.items()}


def _mean_over_genres(
    metric: Callable[[Tensor, Tensor], Tensor], probabilities: Tensor, truth: Tensor
) -> Tensor:
    genres = has_both_classes(truth).nonzero().flatten()
    values = [metric(probabilities[:, genre], truth[:, genre]) for genre in genres]
    return torch.stack(values).mean() if values else torch.zeros(())


def has_both_classes(truth: Tensor) -> Tensor:
    """Return for each genre whether some tracks have it and others lack it, (genres,) bool."""
    return truth.bool().any(0) & ~truth.bool().all(0)
