"""A¹, A² and A compared with explicit sums."""

import math

import pytest
import torch

from trainer.network.genre_graph import (
    conditional_probabilities,
    correlations,
    cosine_similarities,
    propagation,
)

LABELS = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]], dtype=torch.float32)


def test_conditional_probability_is_of_the_column_given_the_row() -> None:
    found = conditional_probabilities(LABELS)
    tracks = LABELS.bool().tolist()
    for i in range(3):
        with_i = [track for track in tracks if track[i]]
        for j in range(4):
            assert found[i, j] == pytest.approx(sum(track[j] for track in with_i) / len(with_i))
    assert found[0, 1] == pytest.approx(2 / 3)
    assert found[1, 0] == 1


def test_a_genre_without_tracks_is_correlated_only_with_itself() -> None:
    assert conditional_probabilities(LABELS)[3].tolist() == [0, 0, 0, 1]


def test_cosine_similarities() -> None:
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    found = cosine_similarities(features)
    for i, a in enumerate(features.tolist()):
        for j, b in enumerate(features.tolist()):
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            assert found[i, j] == pytest.approx(dot / (math.hypot(*a) * math.hypot(*b)), abs=1e-6)


def test_the_correlation_is_the_mean_of_both_matrices() -> None:
    features = torch.tensor([[1.0, 0], [1, 1], [0, 2], [-1, 0]])
    found = correlations(LABELS, features)
    assert found[0, 1] == pytest.approx((2 / 3 + 1 / math.sqrt(2)) / 2)
    assert found[1, 0] == pytest.approx((1 + 1 / math.sqrt(2)) / 2)
    assert found[0, 3] == pytest.approx((0 - 1) / 2)


def test_propagation_shares_what_is_left_by_the_self_loop_among_the_neighbours() -> None:
    correlation = torch.tensor([[1.0, 0.6, 0.2], [0.1, 1, -0.5], [-0.1, -0.1, 1]])
    expected = torch.tensor([[0.4, 0.45, 0.15], [0.6, 0.4, 0], [0, 0, 1]])
    torch.testing.assert_close(propagation(correlation, 0.4), expected)
