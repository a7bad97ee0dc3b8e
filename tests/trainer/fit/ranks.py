"""`ranks.py RANKS FOLDER`: does one training step on eight tracks, distributed over RANKS processes.

Writes the loss and the gradients of the first rank to FOLDER.
"""

import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tests.trainer.conftest import TINY
from tests.trainer.networks import batch, build
from trainer.config import TrainingConfig
from trainer.fit.epochs import EpochSampler
from trainer.fit.train import FitModule
from trainer.network.network import Network

BATCH, TOKENS = 8, 5


def network() -> Network:
    """Return a network in training mode whose batch norms use constant statistics."""
    built = build(TINY.network).train()
    for part in built.modules():
        # Each rank has its own batch statistics, so the results would differ for that reason alone.
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.momentum = 0.0
            part.train = lambda mode=True, part=part: part  # type: ignore[method-assign]
            part.training = False
    return built


class StepRecorder(Callback):
    """Records the gradients and the loss of the step."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.gradients: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, _: Any, module: Any, __: Any) -> None:
        self.gradients = {
            name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None
        }

    def on_train_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self.loss = float(trainer.callback_metrics["train/loss"])


class OneStep(FitModule):
    def on_train_epoch_end(self) -> None:
        """Skip the validation."""


def main(ranks: int, folder: Path) -> None:
    mask = torch.arange(TOKENS) < torch.tensor([5, 3, 0, 4, 2, 5, 0, 1])[:, None]
    tracks = TensorDataset(*batch(TINY.network, mask))
    config: TrainingConfig = TINY.model_copy(
        update={"fit": TINY.fit.model_copy(update={"lyrics_dropout": 0.0, "gradient_clip": 1e6})}
    )
    recorder = StepRecorder()
    trainer = lightning.Trainer(
        accelerator="cpu",
        strategy="ddp" if ranks > 1 else "auto",
        devices=ranks,
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[recorder],
    )
    order = EpochSampler(BATCH, 0, trainer.global_rank, trainer.world_size)
    loader = DataLoader(tracks, batch_size=BATCH // ranks, sampler=order)
    module = OneStep(network(), config.fit, valid=None)  # type: ignore[arg-type]
    trainer.fit(module, loader)
    if trainer.is_global_zero:
        torch.save({"loss": recorder.loss, "gradients": recorder.gradients}, folder / f"{ranks}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
