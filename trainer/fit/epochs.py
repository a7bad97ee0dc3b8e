"""What happens once an epoch: the order of the tracks, the log, the progress bar, and the time left."""

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


class EpochSampler(Sampler[int]):
    """Samples the tracks in a different order each epoch, an equal share of them on each rank.

    It also seeds torch's generator, so that all random draws of an epoch (dropout and windows too) depend
    only on the seed, the epoch's number and the rank. A run that resumes after a crash therefore draws the
    same values as one that was not interrupted.
    """

    def __init__(self, tracks: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.tracks, self.seed, self.rank, self.ranks = tracks, seed, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order is sampled next. Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        # Ranks wait for each other at every step, so all must have the same number.
        return self.tracks // self.ranks

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.tracks, generator=torch.Generator().manual_seed(self._stream_seed(0)))
        torch.manual_seed(self._stream_seed(1 + self.rank))
        yield from order[self.rank :: self.ranks][: len(self)].tolist()

    def _stream_seed(self, stream: int) -> int:
        """Return the seed of one random stream of the epoch: 0 is the order, 1 + rank the rank's draws."""
        return ((self.seed * 1_000_003 + self.epoch) * 10_007 + stream) % 2**63


class EpochBar(RichProgressBar):
    """Lightning's progress bar without the logger's version, which is the same for every run."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class EpochLog(Checkpoint):
    """Writes a line of `metrics.csv` after each epoch, and logs one with the time left if `log_progress`.

    A subclass of Lightning's Checkpoint, because Lightning calls checkpoints after the epoch's validation and
    other callbacks before it.
    """

    def __init__(self, file: Path, log_progress: bool) -> None:
        self.file, self.log_progress = file, log_progress
        self.rows: list[dict[str, float]] = []
        self.started: tuple[float, int] | None = None
        """Monotonic time and epoch at which this process started; None before."""

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
        if self.log_progress:
            start_time, first_epoch = self.started
            epoch_seconds = (time.monotonic() - start_time) / (len(self.rows) - first_epoch)
            seconds_left = epoch_seconds * ((trainer.max_epochs or 0) - len(self.rows))
            log.info(
                "epoch %d of %d: loss %.3f, validation mAP %.3f; %d s per epoch, at most %d minutes left",
                *(len(self.rows), trainer.max_epochs, metrics["train/loss"], metrics["valid/map"]),
                *(epoch_seconds, round(seconds_left / 60)),
            )
