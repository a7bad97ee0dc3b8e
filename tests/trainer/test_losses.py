"""The losses against their formulas, written out."""

import math

import pytest
import torch

from trainer.losses import contrastive_loss, genre_loss


def test_contrastive_loss() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for i in range(4):
        audio_to_lyrics = -math.log(math.exp(similarity[i, i]) / sum(math.exp(s) for s in similarity[i]))
        lyrics_to_audio = -math.log(math.exp(similarity[i, i]) / sum(math.exp(s) for s in similarity[:, i]))
        expected += (audio_to_lyrics + lyrics_to_audio) / 2 / 4
    found = contrastive_loss(similarity, torch.ones(4, dtype=torch.bool))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_tracks_without_lyrics_stay_out_of_the_contrastive_loss() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([True, False, True, True])
    three = contrastive_loss(similarity[kept][:, kept], torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(contrastive_loss(similarity, kept), three)


@pytest.mark.parametrize("present", [0, 1])
def test_nothing_to_contrast_costs_nothing(present: int) -> None:
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
