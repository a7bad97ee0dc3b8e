"""Bins and calibration error compared with values computed by hand."""

import pytest
import torch

from trainer.evaluation.calibration import BINS, compute_calibration


def test_bins_and_error_by_hand() -> None:
    probabilities = torch.tensor([[0.01, 0.03], [0.99, 1.0]])
    labels = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    found = compute_calibration(probabilities, labels)
    low, high = found.bins
    assert (low.decisions, low.mean_score, low.share_correct) == pytest.approx((2, 0.02, 0.5))
    # A score of exactly 1 belongs to the last bin.
    assert (high.decisions, high.mean_score, high.share_correct) == pytest.approx((2, 0.995, 1))
    assert found.error == pytest.approx((0.48 + 0.005) / 2, abs=1e-6)


def test_the_error_is_the_mean_distance_of_the_bins_from_the_line() -> None:
    chance = torch.Generator().manual_seed(0)
    probabilities = torch.rand(500, 3, generator=chance)
    labels = (torch.rand(500, 3, generator=chance) < probabilities**2).float()
    found = compute_calibration(probabilities, labels)
    assert len(found.bins) == BINS
    assert sum(one.decisions for one in found.bins) == 1_500
    distances = [one.decisions * abs(one.share_correct - one.mean_score) for one in found.bins]
    assert found.error == pytest.approx(sum(distances) / 1_500, abs=1e-5)
    # The distance of p² from p, on average over p.
    assert found.error == pytest.approx(1 / 6, abs=0.03)


def test_scores_that_are_probabilities_lie_on_the_line() -> None:
    chance = torch.Generator().manual_seed(0)
    probabilities = torch.rand(20_000, 1, generator=chance)
    labels = (torch.rand(20_000, 1, generator=chance) < probabilities).float()
    assert compute_calibration(probabilities, labels).error < 0.02
