"""What happens from epoch to epoch: the order of the tracks, the log, and how long it will take."""

import csv
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from torch.utils.data import Sampler

log = logging.getLogger(__name__)


class EpochOrder(Sampler[int]):
    """Tracks in another order each epoch; each rank has its share of them.

    Everything random of an epoch follows from the seed and the epoch's number, dropout and windows too: a run
    that is carried on after a crash draws what it would have drawn without.
    """

    def __init__(self, tracks: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.tracks, self.seed, self.rank, self.ranks = tracks, seed, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        # Ranks wait for each other at every step: all have as many.
        return self.tracks // self.ranks

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.tracks, generator=torch.Generator().manual_seed(self._mixed(0)))
        torch.manual_seed(self._mixed(1 + self.rank))
        yield from order[self.rank :: self.ranks][: len(self)].tolist()

    def _mixed(self, stream: int) -> int:
        return ((self.seed * 1_000_003 + self.epoch) * 10_007 + stream) % 2**63


class EpochBar(RichProgressBar):
    """Without the logger's version, which is the same for every run."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class EpochLog(Checkpoint):
    """A line of `metrics.csv` an epoch, and one on the terminal with the time left.

    A checkpoint to Lightning, which calls those after the epoch's validation, and others before.
    """

    def __init__(self, file: Path, terminal: bool) -> None:
        self.file, self.terminal = file, terminal
        self.rows: list[dict[str, float]] = []
        self.started: tuple[float, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self.started = (time.monotonic(), trainer.current_epoch)

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        if not trainer.is_global_zero or self.started is None:
            return
        metrics = {name: round(float(value), 6) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": len(self.rows), **metrics})
        with self.file.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[0].keys(), extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        if self.terminal:
            since, first = self.started
            seconds = (time.monotonic() - since) / (len(self.rows) - first)
            left = seconds * ((trainer.max_epochs or 0) - len(self.rows))
            log.info(
                "epoch %d of %d: loss %.3f, validation mAP %.3f; %d s an epoch, %d minutes left at most",
                *(len(self.rows), trainer.max_epochs, metrics["train/loss"], metrics["valid/map"]),
                *(seconds, round(left / 60)),
            )
