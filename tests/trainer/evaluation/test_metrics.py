"""Metrics and decisions compared with values computed by hand, or by trying every threshold."""

import pytest
import torch

from schemas.bundle import Genre
from schemas.labels import LabelRule
from trainer.evaluation.metrics import (
    DEFAULT_THRESHOLD,
    accept_genres,
    best_f1_threshold,
    best_f1_thresholds,
    compute_metrics,
    mean_over_windows,
)

GENRES = (
    Genre(slug="techno", name="Techno", parent="electronic"),
    Genre(slug="electronic", name="Electronic", parent="music"),
    Genre(slug="music", name="Music"),
    Genre(slug="rock", name="Rock"),
)


def test_a_tracks_probabilities_are_the_mean_of_its_windows() -> None:
    windows = torch.tensor([[0.2, 1.0], [0.4, 0.0], [0.9, 0.5]])
    found = mean_over_windows(windows, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[0.3, 0.5], [0.9, 0.5]]))


def test_parents_of_accepted_genres_are_accepted_up_to_the_root() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.1, 0.1], [0.1, 0.6, 0.1, 0.5], [0.1, 0.1, 0.1, 0.1]])
    accepted = accept_genres(probabilities, torch.tensor([0.5, 0.5, 0.5, 0.5]), GENRES)
    assert accepted.tolist() == [
        [True, True, True, False],
        [False, True, True, True],
        [False, False, False, False],
    ]


def test_a_score_equal_to_the_threshold_is_accepted() -> None:
    probabilities = torch.tensor([[0.25, 0.5]])
    flat = (Genre(slug="a", name="A"), Genre(slug="b", name="B"))
    assert accept_genres(probabilities, torch.tensor([0.25, 0.75]), flat).tolist() == [[True, False]]


def test_serving_accepts_the_same_genres_as_training() -> None:
    """The worker labels one track at a time, the trainer a whole split."""
    chance = torch.Generator().manual_seed(0)
    probabilities = torch.rand(500, 4, generator=chance)
    thresholds = torch.rand(4, generator=chance)
    probabilities[:4] = thresholds  # exactly at the thresholds
    serving = LabelRule(GENRES, thresholds.tolist())
    for row, accepted in zip(probabilities, accept_genres(probabilities, thresholds, GENRES), strict=True):
        labels = serving.select_labels(row.numpy())
        assert {label.genre for label in labels} == set(accepted.nonzero().flatten().tolist())


def f1_at(threshold: float, scores: torch.Tensor, labels: torch.Tensor) -> float:
    accepted = scores >= threshold
    hits = float((accepted & labels.bool()).sum())
    return 2 * hits / float(accepted.sum() + labels.sum())


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_beats_the_fitted_one(seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    # Rounded, so that scores tie.
    scores = (torch.rand(40, 3, generator=chance) * 10).round() / 10
    labels = (torch.rand(40, 3, generator=chance) < scores).float()
    for genre_scores, truth in zip(scores.T, labels.T, strict=True):
        best = max(f1_at(t / 100, genre_scores, truth) for t in range(101))
        assert f1_at(float(best_f1_threshold(genre_scores, truth)), genre_scores, truth) == pytest.approx(
            best
        )


def test_averaged_thresholds_vary_less_than_single_ones() -> None:
    """On samples of one distribution, averaged thresholds vary less than thresholds that are fitted once."""
    chance = torch.Generator().manual_seed(0)
    fitted_once, averaged = [], []
    for _ in range(20):
        labels = (torch.rand(200, 1, generator=chance) < 0.1).float()
        scores = (labels + torch.randn(200, 1, generator=chance)).sigmoid()
        fitted_once.append(best_f1_threshold(scores[:, 0], labels[:, 0]))
        averaged.append(best_f1_thresholds(scores, labels)[0])
    assert torch.stack(averaged).std() < 0.95 * torch.stack(fitted_once).std()
    assert torch.stack(averaged).mean() == pytest.approx(float(torch.stack(fitted_once).mean()), abs=0.03)


def test_the_same_tracks_have_the_same_thresholds() -> None:
    scores, labels = torch.rand(50, 2), torch.randint(2, (50, 2)).float()
    assert torch.equal(best_f1_thresholds(scores, labels), best_f1_thresholds(scores, labels))


def test_a_genre_that_all_or_no_tracks_have_gets_the_default_threshold() -> None:
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.1]])
    labels = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert best_f1_thresholds(scores, labels).tolist() == [DEFAULT_THRESHOLD, DEFAULT_THRESHOLD]


def test_metrics_equal_values_computed_by_hand() -> None:
    labels = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    accepted = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0]]).bool()
    probabilities = torch.tensor([[0.9, 0.4, 0.1], [0.2, 0.8, 0.7], [0.3, 0.5, 0.2]])
    found = compute_metrics(probabilities, accepted, labels)
    assert found["accuracy"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3, abs=1e-6)
    assert found["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3, abs=1e-6)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 3), abs=1e-6)
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-6)
    assert found["subset_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    # The third genre has no track, and so no ranking metrics.
    assert found["map"] == pytest.approx((1 + (1 / 1 + 2 / 3) / 2) / 2, abs=1e-6)
    assert found["roc_auc"] == pytest.approx((1 + 1 / 2) / 2, abs=1e-6)
