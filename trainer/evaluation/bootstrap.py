"""Confidence intervals of metrics by the percentile bootstrap over tracks (Efron, 1979).

A resample draws as many tracks as there are, with replacement, and is stored as a count per track. The
metrics of all resamples are computed from these counts in one pass over scores that are sorted once.
torchmetrics, which computes the values themselves, would sort once per resample.

R = resamples, N = tracks, G = genres.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.evaluation.findings import Estimate

LEVEL = 0.95
"""Confidence level of the intervals."""
MAX_COUNTS = 4_000_000
"""Counts (resamples × tracks) held in memory at once."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of each resample; NaN where a resample leaves a metric undefined."""

    tracks: dict[str, Tensor]
    """Metrics over tracks, each (R,), by the names of `trainer.evaluation.metrics.compute_metrics`."""
    genres: dict[str, Tensor]
    """f1, average_precision and roc_auc, each (R, G)."""


def resample_metrics(
    probabilities: Tensor, accepted: Tensor, labels: Tensor, resamples: int, seed: int
) -> Iterator[Metrics]:
    """Yield the metrics of `resamples` resamples of the rows of (N, G) tensors, in chunks of resamples."""
    generator = torch.Generator().manual_seed(seed)
    tracks = len(labels)
    chunk = max(1, MAX_COUNTS // tracks)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = torch.randint(tracks, (size, tracks), generator=generator)
        counts = torch.zeros(size, tracks, dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        yield weighted_metrics(probabilities, accepted, labels, counts)


def concatenate_parts(parts: list[Metrics]) -> Metrics:
    """Return the metrics of several chunks of resamples, concatenated."""
    return Metrics(
        *(
            {
                name: torch.cat([getattr(part, kind)[name] for part in parts])
                for name in getattr(parts[0], kind)
            }
            for kind in ("tracks", "genres")
        )
    )


def make_estimate(value: float | None, resampled: Tensor) -> Estimate:
    """Return `value` and its interval from `resampled` (R,); all None if no resample defines the metric."""
    defined = resampled[~resampled.isnan()]
    if value is None or not len(defined):
        return Estimate(value=None, low=None, high=None)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(defined, torch.tensor([tail, 1 - tail], dtype=defined.dtype)).tolist()
    return Estimate(value=round(value, 6), low=round(low, 6), high=round(high, 6))


def weighted_metrics(probabilities: Tensor, accepted: Tensor, labels: Tensor, counts: Tensor) -> Metrics:
    """Return the metrics of (N, G) tensors for each row r of `counts` (R, N), the weights of the tracks."""
    truth, predicted = labels.double(), accepted.double()
    hits = truth * predicted
    shared, sizes = hits.sum(1), (truth + predicted).sum(1)
    union = sizes - shared
    rows = torch.stack(
        [
            # Two empty sets count as equal.
            torch.where(union > 0, shared / union.clamp(min=1), 1.0),
            torch.where(sizes > 0, 2 * shared / sizes.clamp(min=1), 1.0),
            (truth == predicted).all(1).double(),
        ],
        dim=1,
    )
    accuracy, f1, subset_accuracy = (counts @ rows / counts.sum(1, keepdim=True)).T
    genre_hits, genre_sizes = counts @ hits, counts @ (truth + predicted)
    genre_f1 = torch.where(genre_sizes > 0, 2 * genre_hits / genre_sizes.clamp(min=1), 0.0)
    ranked = [_rank_metrics(p, y, counts) for p, y in zip(probabilities.T, truth.T, strict=True)]
    average_precision, roc_auc = (torch.stack(column, dim=1) for column in zip(*ranked, strict=True))
    return Metrics(
        tracks={
            "accuracy": accuracy,
            "f1": f1,
            "micro_f1": 2 * genre_hits.sum(1) / genre_sizes.sum(1).clamp(min=1),
            "macro_f1": genre_f1.mean(1),
            "subset_accuracy": subset_accuracy,
            "map": average_precision.nanmean(1),
            "roc_auc": roc_auc.nanmean(1),
        },
        genres={"f1": genre_f1, "average_precision": average_precision, "roc_auc": roc_auc},
    )


def _rank_metrics(scores: Tensor, truth: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return average precision and ROC AUC, both (R,), of one genre's scores and truth (N,)."""
    order = scores.argsort(descending=True, stable=True)
    # No threshold separates equal scores: only the last of equal scores is a point of the curves.
    last = torch.cat([scores[order].diff() != 0, torch.ones(1, dtype=torch.bool)])
    sorted_counts = counts[:, order]
    accepted = sorted_counts.cumsum(1)[:, last]
    hits = (sorted_counts * truth[order]).cumsum(1)[:, last]
    false = accepted - hits
    positives, negatives = hits[:, -1:], false[:, -1:]
    start = torch.zeros_like(positives)
    new_hits, new_false = hits.diff(prepend=start), false.diff(prepend=start)
    average_precision = (new_hits * hits / accepted.clamp(min=1)).sum(1) / positives[:, 0]
    area = (new_false * (hits - new_hits / 2)).sum(1) / (positives * negatives)[:, 0]
    # Undefined if all tracks of a resample have the genre, or all lack it.
    defined = ((positives > 0) & (negatives > 0))[:, 0]
    return torch.where(defined, average_precision, torch.nan), torch.where(defined, area, torch.nan)
