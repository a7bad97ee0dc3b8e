"""Whether a score is a probability: of decisions scored 0.8, are eight of ten right?"""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from trainer.evaluation.findings import Bin, Calibration

BINS = 15

_BELOW_ONE = 1 - 2**-24
"""A score of exactly 1, which rounding makes, belongs into the last bin and not into one of its own."""


def calibration(probabilities: Tensor, labels: Tensor) -> Calibration:
    """Of every decision in (N, G) tensors alike."""
    scores, truth = _flat(probabilities, labels)
    edges = torch.linspace(0, 1, BINS + 1)
    place = torch.bucketize(scores, edges, right=True) - 1
    decisions = torch.bincount(place, minlength=BINS)
    score, right = (torch.bincount(place, weights=part.double(), minlength=BINS) for part in (scores, truth))
    return Calibration(
        error=calibration_error(probabilities, labels),
        bins=tuple(
            Bin(decisions=n, mean_score=round(s / n, 6), share_right=round(r / n, 6))
            for n, s, r in zip(decisions.tolist(), score.tolist(), right.tolist(), strict=True)
            if n
        ),
    )


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error: how far score and share part, on average over decisions."""
    scores, truth = _flat(probabilities, labels)
    return round(float(binary_calibration_error(scores, truth, n_bins=BINS, norm="l1")), 6)


def _flat(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return probabilities.flatten().clamp(max=_BELOW_ONE), labels.flatten().long()
