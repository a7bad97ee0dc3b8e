"""Resampled metrics compared with torchmetrics on repeated rows, and intervals with the theory."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from trainer.evaluation import bootstrap
from trainer.evaluation.bootstrap import concatenate_parts, make_estimate, resample_metrics, weighted_metrics
from trainer.evaluation.metrics import compute_metrics

TRACKS, GENRES = 30, 4


def split(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores with ties, decisions and labels. Few tracks lack the first genre, few have the last."""
    chance = torch.Generator().manual_seed(seed)
    scores = (torch.rand(TRACKS, GENRES, generator=chance) * 10).round() / 10
    labels = (torch.rand(TRACKS, GENRES, generator=chance) < scores).float()
    labels[2:, 0] = 1
    labels[:2, 0] = 0
    labels[2:, -1] = 0
    return scores, scores >= 0.6, labels


@pytest.mark.parametrize("seed", range(5))
def test_a_count_is_equivalent_to_repeated_rows(seed: int) -> None:
    scores, accepted, labels = split(seed)
    drawn = torch.randint(TRACKS, (20, TRACKS), generator=torch.Generator().manual_seed(seed))
    counts = torch.stack([torch.bincount(one, minlength=TRACKS) for one in drawn]).double()
    found = weighted_metrics(scores, accepted, labels, counts)
    for number, rows in enumerate(drawn):
        expected = compute_metrics(scores[rows], accepted[rows], labels[rows])
        for name, value in expected.items():
            assert float(found.tracks[name][number]) == pytest.approx(value, abs=2e-6), name
        for genre in range(GENRES):
            genre_scores, truth = scores[rows, genre], labels[rows, genre].long()
            for name, metric in (("average_precision", binary_average_precision), ("roc_auc", binary_auroc)):
                value = float(found.genres[name][number, genre])
                if truth.any() and not truth.all():
                    assert value == pytest.approx(float(metric(genre_scores, truth)), abs=2e-6), name
                else:
                    assert math.isnan(value)


def test_a_genre_that_a_resample_lacks_has_no_ranking_metrics() -> None:
    scores, accepted, labels = split(0)
    labels[:, -1] = 0
    labels[0, -1] = 1
    parts = list(resample_metrics(scores, accepted, labels, 200, seed=1))
    lacking = concatenate_parts(parts).genres["average_precision"][:, -1].isnan().double().mean()
    # A track is not drawn with probability (1 - 1/N)^N.
    assert float(lacking) == pytest.approx((1 - 1 / TRACKS) ** TRACKS, abs=0.1)


def test_the_interval_of_a_mean_agrees_with_the_normal_distribution() -> None:
    """The subset accuracy of N tracks of which a share q is correct: q ± 1.96 √(q (1 − q) / N)."""
    count, share = 2_000, 0.3
    labels = torch.ones(count, 1)
    accepted = (torch.arange(count) < share * count)[:, None]
    resampled = concatenate_parts(
        list(resample_metrics(torch.rand(count, 1), accepted, labels, 2_000, seed=0))
    )
    found = make_estimate(share, resampled.tracks["subset_accuracy"])
    half_width = 1.96 * math.sqrt(share * (1 - share) / count)
    assert found.value == share
    assert found.low == pytest.approx(share - half_width, abs=0.1 * half_width)
    assert found.high == pytest.approx(share + half_width, abs=0.1 * half_width)


def test_the_same_seed_gives_the_same_resamples() -> None:
    one, same, other = (
        concatenate_parts(list(resample_metrics(*split(0), 50, seed))).tracks["f1"] for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_resamples_are_computed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MAX_COUNTS", 3 * TRACKS)
    parts = list(resample_metrics(*split(0), 7, seed=0))
    assert [len(part.tracks["f1"]) for part in parts] == [3, 3, 1]
    assert len(concatenate_parts(parts).genres["f1"]) == 7


def test_resamples_with_an_undefined_metric_are_left_out() -> None:
    found = make_estimate(0.5, torch.tensor([torch.nan, 0.4, torch.nan, 0.6]))
    assert (found.low, found.high) == pytest.approx((0.405, 0.595))


def test_a_metric_that_no_resample_defines_has_no_interval() -> None:
    found = make_estimate(None, torch.full((3,), torch.nan))
    assert (found.value, found.low, found.high) == (None, None, None)
