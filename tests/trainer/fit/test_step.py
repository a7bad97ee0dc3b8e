"""One training step: its loss, its learning rate and its gradient clipping."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tests.trainer.conftest import TINY
from tests.trainer.networks import batch, build
from trainer.fit.train import FitModule, build_trainer
from trainer.network.losses import contrastive_loss, genre_loss
from trainer.network.network import Network

BATCH = batch(TINY.network, torch.ones(8, 5, dtype=torch.bool))

pytestmark = pytest.mark.filterwarnings("ignore:.*in eval mode", "ignore:.*LeafSpec")


@torch.no_grad()
def both_losses(network: Network, lyrics_dropped: Tensor) -> tuple[float, float]:
    """Return L_AL and L_BCE of the batch, with the lyrics of some tracks dropped for the classifier."""
    log_mel, hidden, mask, labels = BATCH
    output = network.classify(log_mel, hidden, mask, network.genre_vectors())
    assert output.audio_embedding is not None
    assert output.lyrics_embedding is not None
    similarity = network.similarity(output.audio_embedding, output.lyrics_embedding)
    used_mask = mask & ~lyrics_dropped[:, None]
    logits = network.classify(log_mel, hidden, used_mask, network.genre_vectors()).logits
    return float(contrastive_loss(similarity, mask.any(1))), float(genre_loss(logits, labels))


class RecordingModule(FitModule):
    """Records the loss, the learning rate and the gradient norm of each step."""

    def __init__(self, network: Network, **settings: Any) -> None:
        super().__init__(network, TINY.fit.model_copy(update=settings), valid=None)  # type: ignore[arg-type]
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.norms: list[float] = []

    def training_step(self, batch_: Any, number: int) -> Tensor:
        loss = super().training_step(batch_, number)
        self.losses.append(float(loss.detach()))
        return loss

    def on_before_optimizer_step(self, optimiser: torch.optim.Optimizer) -> None:
        self.rates.append(optimiser.param_groups[0]["lr"])

    def configure_gradient_clipping(self, *arguments: Any, **settings: Any) -> None:
        super().configure_gradient_clipping(*arguments, **settings)
        gradients = [weight.grad.flatten() for weight in self.parameters() if weight.grad is not None]
        self.norms.append(float(torch.cat(gradients).norm()))

    def on_train_epoch_end(self) -> None:
        """Skip the validation."""


def fit_network(network: Network, epochs: int = 1, **settings: Any) -> RecordingModule:
    module = RecordingModule(network, epochs=epochs, **settings)
    loader = DataLoader(TensorDataset(*BATCH), batch_size=8)
    build_trainer(module.config, callbacks=[], logger=None).fit(module, loader)
    return module


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.9])
def test_the_loss_is_the_weighted_sum(weight: float) -> None:
    """L = λ · L_AL + (1 − λ) · L_BCE"""
    contrast, genres = both_losses(build(TINY.network).train(), torch.zeros(8, dtype=torch.bool))
    found = fit_network(build(TINY.network).train(), contrastive_weight=weight, lyrics_dropout=0.0)
    assert found.losses == [pytest.approx(weight * contrast + (1 - weight) * genres, rel=1e-5)]


def test_dropped_lyrics_change_only_the_genre_loss() -> None:
    network = build(TINY.network).train()
    lyrics_dropped = torch.ones(8, dtype=torch.bool)
    expected = both_losses(network, lyrics_dropped)
    found = fit_network(build(TINY.network).train(), contrastive_weight=0.5, lyrics_dropout=1.0)
    assert found.losses == [pytest.approx(sum(expected) / 2, rel=1e-5)]
    (contrast, _), (same, genres) = expected, both_losses(network, ~lyrics_dropped)
    assert contrast == pytest.approx(same)
    assert genres != pytest.approx(expected[1], rel=1e-3)


def test_the_learning_rate_is_halved_at_the_configured_epochs() -> None:
    found = fit_network(build(TINY.network), epochs=5, learning_rate=0.01, halve_every=2)
    assert found.rates == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025])


def test_gradients_are_clipped_to_the_configured_norm() -> None:
    unclipped = fit_network(build(TINY.network), gradient_clip=1e9)
    clipped = fit_network(build(TINY.network), gradient_clip=0.01)
    assert unclipped.norms[0] > 0.01
    assert clipped.norms == [pytest.approx(0.01, rel=1e-3)]
