"""Calibration: whether scores are probabilities, so that 8 of 10 decisions scored 0.8 are correct."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from trainer.evaluation.findings import Bin, Calibration

BINS = 15

_BELOW_ONE = 1 - 2**-24
"""Scores are clamped to this: rounding gives scores of exactly 1, which belong in the last bin."""


def compute_calibration(probabilities: Tensor, labels: Tensor) -> Calibration:
    """Return the calibration over all decisions of (N, G) probabilities and labels."""
    scores, truth = _flatten(probabilities, labels)
    edges = torch.linspace(0, 1, BINS + 1)
    bins = torch.bucketize(scores, edges, right=True) - 1
    decisions = torch.bincount(bins, minlength=BINS)
    score_sums, correct = (
        torch.bincount(bins, weights=part.double(), minlength=BINS) for part in (scores, truth)
    )
    return Calibration(
        error=calibration_error(probabilities, labels),
        bins=tuple(
            Bin(decisions=n, mean_score=round(s / n, 6), share_correct=round(r / n, 6))
            for n, s, r in zip(decisions.tolist(), score_sums.tolist(), correct.tolist(), strict=True)
            if n
        ),
    )


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error: the mean distance of a bin's mean score from its share correct.

    Bins are weighted by their decisions (Guo et al., 2017).
    """
    scores, truth = _flatten(probabilities, labels)
    return round(float(binary_calibration_error(scores, truth, n_bins=BINS, norm="l1")), 6)


def _flatten(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return probabilities.flatten().clamp(max=_BELOW_ONE), labels.flatten().long()
