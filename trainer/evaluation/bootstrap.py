"""How far a metric would vary, had other tracks of the same kind been drawn: percentile bootstrap.

A resample draws as many tracks as there are, with replacement: it is a count a track. Metrics of a thousand
resamples come from these counts in one pass over scores that are sorted once; torchmetrics, which gives the
values themselves, would sort a thousand times.

R = resamples, N = tracks, G = genres.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.evaluation.findings import Estimate

LEVEL = 0.95
CELLS = 4_000_000
"""Counts held at once: a resample of a large split is a long row."""


@dataclass(frozen=True)
class Metrics:
    """Of each resample; not a number where a resample leaves it undefined."""

    tracks: dict[str, Tensor]
    """(R,), by the names of `trainer.evaluation.metrics.measure`."""
    genres: dict[str, Tensor]
    """(R, G): f1, average_precision, roc_auc"""


def resample(
    probabilities: Tensor, accepted: Tensor, labels: Tensor, resamples: int, seed: int
) -> Iterator[Metrics]:
    """Metrics of `resamples` resamples of the rows of (N, G) tensors, some resamples at a time."""
    chance = torch.Generator().manual_seed(seed)
    count = len(labels)
    at_once = max(1, CELLS // count)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = torch.randint(count, (size, count), generator=chance)
        counts = torch.zeros(size, count, dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        yield weighted(probabilities, accepted, labels, counts)


def together(parts: list[Metrics]) -> Metrics:
    """Those of all resamples."""
    return Metrics(
        *(
            {
                name: torch.cat([getattr(part, kind)[name] for part in parts])
                for name in getattr(parts[0], kind)
            }
            for kind in ("tracks", "genres")
        )
    )


def estimate(value: float | None, resampled: Tensor) -> Estimate:
    """`value` with the interval of `LEVEL` of `resampled` (R,); null where no resample defines it."""
    known = resampled[~resampled.isnan()]
    if value is None or not len(known):
        return Estimate(value=None, low=None, high=None)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(known, torch.tensor([tail, 1 - tail], dtype=known.dtype)).tolist()
    return Estimate(value=round(value, 6), low=round(low, 6), high=round(high, 6))


def weighted(probabilities: Tensor, accepted: Tensor, labels: Tensor, counts: Tensor) -> Metrics:
    """Metrics of (N, G) tensors whose row n counts `counts[r, n]` times, for each r of (R, N)."""
    truth, predicted = labels.double(), accepted.double()
    hits = truth * predicted
    both, sizes = hits.sum(1), (truth + predicted).sum(1)
    either = sizes - both
    rows = torch.stack(
        [
            # Two empty sets agree.
            torch.where(either > 0, both / either.clamp(min=1), 1.0),
            torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0),
            (truth == predicted).all(1).double(),
        ],
        dim=1,
    )
    accuracy, f1, subset_accuracy = (counts @ rows / counts.sum(1, keepdim=True)).T
    hit, size = counts @ hits, counts @ (truth + predicted)
    genre_f1 = torch.where(size > 0, 2 * hit / size.clamp(min=1), 0.0)
    ranked = [_ranking(p, y, counts) for p, y in zip(probabilities.T, truth.T, strict=True)]
    average_precision, roc_auc = (torch.stack(one, dim=1) for one in zip(*ranked, strict=True))
    return Metrics(
        tracks={
            "accuracy": accuracy,
            "f1": f1,
            "micro_f1": 2 * hit.sum(1) / size.sum(1).clamp(min=1),
            "macro_f1": genre_f1.mean(1),
            "subset_accuracy": subset_accuracy,
            "map": average_precision.nanmean(1),
            "roc_auc": roc_auc.nanmean(1),
        },
        genres={"f1": genre_f1, "average_precision": average_precision, "roc_auc": roc_auc},
    )


def _ranking(scores: Tensor, truth: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Average precision and area under the ROC curve (R,) of one genre's scores and truth (N,)."""
    order = scores.argsort(descending=True, stable=True)
    # No threshold parts equal scores: only the last of each is a point of the curves.
    last = torch.cat([scores[order].diff() != 0, torch.ones(1, dtype=torch.bool)])
    sorted_counts = counts[:, order]
    accepted = sorted_counts.cumsum(1)[:, last]
    hits = (sorted_counts * truth[order]).cumsum(1)[:, last]
    false = accepted - hits
    positives, negatives = hits[:, -1:], false[:, -1:]
    before = torch.zeros_like(positives)
    new_hits, new_false = hits.diff(prepend=before), false.diff(prepend=before)
    average_precision = (new_hits * hits / accepted.clamp(min=1)).sum(1) / positives[:, 0]
    area = (new_false * (hits - new_hits / 2)).sum(1) / (positives * negatives)[:, 0]
    # Where all tracks of a resample agree there is nothing to rank; 0 / 0 is not a number already.
    defined = ((positives > 0) & (negatives > 0))[:, 0]
    return torch.where(defined, average_precision, torch.nan), torch.where(defined, area, torch.nan)
