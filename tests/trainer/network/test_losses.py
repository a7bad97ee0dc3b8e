"""The losses compared with their formulas."""

import math

import pytest
import torch

from trainer.network.losses import contrastive_loss, genre_loss


def test_contrastive_loss_is_the_mean_of_both_directions() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for i in range(4):
        audio_to_lyrics = -math.log(math.exp(similarity[i, i]) / sum(math.exp(s) for s in similarity[i]))
        lyrics_to_audio = -math.log(math.exp(similarity[i, i]) / sum(math.exp(s) for s in similarity[:, i]))
        expected += (audio_to_lyrics + lyrics_to_audio) / 2 / 4
    found = contrastive_loss(similarity, torch.ones(4, dtype=torch.bool))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_tracks_without_lyrics_are_excluded_from_the_contrastive_loss() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([True, False, True, True])
    three = contrastive_loss(similarity[kept][:, kept], torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(contrastive_loss(similarity, kept), three)


@pytest.mark.parametrize("present", [0, 1])
def test_the_contrastive_loss_of_fewer_than_two_tracks_is_zero(present: int) -> None:
    similarity = torch.randn(3, 3, requires_grad=True)
    loss = contrastive_loss(similarity, torch.arange(3) < present)
    loss.backward()
    assert loss == 0
    assert similarity.grad is not None
    assert not similarity.grad.any()


def test_the_genre_loss_is_cross_entropy_summed_over_genres() -> None:
    logits, labels = torch.randn(3, 4), torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]])
    p = logits.double().sigmoid()
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).sum(1).mean()
    assert float(genre_loss(logits, labels)) == pytest.approx(float(expected), rel=1e-5)


def test_the_asymmetric_loss_follows_its_formula() -> None:
    logits, labels = torch.randn(3, 4), torch.eye(4)[:3]
    expected = 0.0
    for logit, label in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        shifted = max(p - 0.05, 0)
        expected -= label * (1 - p) ** 1 * math.log(p) + (1 - label) * shifted**4 * math.log(1 - shifted)
    found = genre_loss(logits, labels, positive_focus=1, negative_focus=4, negative_margin=0.05)
    assert float(found) == pytest.approx(expected / 3, rel=1e-4)


def test_the_asymmetric_loss_without_focus_and_margin_is_cross_entropy() -> None:
    logits, labels = torch.randn(3, 4), torch.eye(4)[:3]
    nearly = genre_loss(logits, labels, negative_margin=1e-7)
    torch.testing.assert_close(nearly, genre_loss(logits, labels), rtol=1e-4, atol=1e-4)


def test_a_wrong_prediction_with_a_large_logit_has_a_finite_gradient() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    genre_loss(logits, torch.tensor([[0.0, 1.0]]), negative_focus=2).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
