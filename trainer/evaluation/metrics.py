"""From probabilities to label sets, as the worker decides, and how good these are."""

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

NEUTRAL = 0.5
"""The threshold of a genre that no track or every track of the split has."""

RESAMPLES = 100
"""Of the tracks that thresholds are fitted on."""


def track_means(windows: Tensor, track_row: Tensor) -> Tensor:
    """Mean over each track's windows (W, genres), `track_row` (W,) ascending from 0, to (tracks, genres)."""
    counts = torch.bincount(track_row)
    sums = torch.zeros(len(counts), windows.shape[1], dtype=windows.dtype).index_add(0, track_row, windows)
    return sums / counts[:, None]


def best_thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(genres,): the threshold at which each genre's F1 is highest, in the mean over resamples of the tracks.

    Of the tracks alone, it would be what a few of a rare genre happened to score (bagging: Breiman, 1996).
    """
    chance = torch.Generator().manual_seed(0)
    tracks = len(labels)
    found = []
    for _ in range(RESAMPLES):
        drawn = torch.randint(tracks, (tracks,), generator=chance)
        genres = zip(probabilities[drawn].T, labels[drawn].T, strict=True)
        found.append(torch.stack([best_threshold(scores, truth) for scores, truth in genres]))
    return torch.stack(found).nanmean(0).nan_to_num(NEUTRAL)


def best_threshold(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Of one genre's (tracks,): where F1 is highest, half-way to the next lower score.

    Not a number where no track or every track has the genre.
    """
    positives = labels.sum()
    if positives in (0, len(labels)):
        return torch.tensor(torch.nan)
    scores, order = probabilities.sort(descending=True)
    hits = labels[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(labels) + 1) + positives)
    below = torch.cat([scores[1:], torch.zeros(1)])
    # A threshold cannot part equal scores.
    f1[scores == below] = 0
    best = f1.argmax()
    return (scores[best] + below[best]) / 2


def decide(probabilities: Tensor, thresholds: Tensor, genres: Sequence[Genre]) -> Tensor:
    """Accepted genres (tracks, genres), bool: those at or above their thresholds, and their parents."""
    return torch.from_numpy(LabelRule(genres, thresholds.numpy()).accept_genres(probabilities.numpy()))


def measure(probabilities: Tensor, accepted: Tensor, labels: Tensor) -> dict[str, float]:
    """Metrics of the label sets `accepted`, and of the ranking by `probabilities`; all (tracks, genres).

    accuracy, f1     example-based: intersection over union and F1 of each track's sets, averaged
    micro_f1, macro_f1, subset_accuracy    of the sets
    map, roc_auc     macro averages over the genres that some tracks have and others lack
    """
    truth = labels.long()
    predicted = accepted.long()
    both = (predicted & truth).sum(1).double()
    either = (predicted | truth).sum(1).double()
    sizes = (predicted.sum(1) + truth.sum(1)).double()
    count = labels.shape[1]
    metrics = {
        # Two empty sets agree.
        "accuracy": torch.where(either > 0, both / either.clamp(min=1), 1.0).mean(),
        "f1": torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0).mean(),
        "micro_f1": multilabel_f1_score(predicted, truth, count, average="micro"),
        "macro_f1": multilabel_f1_score(predicted, truth, count, average="macro"),
        "subset_accuracy": multilabel_exact_match(predicted, truth, count),
        "map": _macro(binary_average_precision, probabilities, truth),
        "roc_auc": _macro(binary_auroc, probabilities, truth),
    }
    return {name: round(float(value), 6) for name, value in metrics.items()}


def _macro(metric: Callable[[Tensor, Tensor], Tensor], probabilities: Tensor, truth: Tensor) -> Tensor:
    genres = told_apart(truth).nonzero().flatten()
    values = [metric(probabilities[:, genre], truth[:, genre]) for genre in genres]
    return torch.stack(values).mean() if values else torch.zeros(())


def told_apart(truth: Tensor) -> Tensor:
    """(G,): whether some tracks have the genre and others lack it."""
    return truth.bool().any(0) & ~truth.bool().all(0)
