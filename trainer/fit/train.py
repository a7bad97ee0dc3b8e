"""The training loop on PyTorch Lightning: step, schedule, validation, and the checkpoints to resume from."""

import io
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from storage.atomic import new_file
from storage.errors import OutputError
from trainer.config import FitConfig
from trainer.errors import TrainingError
from trainer.evaluation.metrics import compute_metrics
from trainer.evaluation.predict import predict
from trainer.features.features import Example, Features, RandomWindows
from trainer.fit.augment import mixup, spec_augment
from trainer.fit.epochs import EpochBar, EpochLog, EpochSampler
from trainer.network.losses import contrastive_loss, genre_loss
from trainer.network.network import Network

LOG_FILE, TENSORBOARD_FOLDER = "metrics.csv", "tensorboard"
LAST, BEST = "last.ckpt", "best"


class FitModule(lightning.LightningModule):
    """The training step, its learning rate schedule, and validation by mAP, which needs no thresholds."""

    def __init__(self, network: Network, config: FitConfig, valid: Features) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.valid = valid

    def on_train_batch_start(self, _: Example, __: int) -> None:
        # Set here and not by a scheduler: Lightning saves an epoch before it steps the schedulers.
        halvings = self.current_epoch // self.config.halve_every
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * 0.5**halvings

    def training_step(self, batch: Example, _: int) -> Tensor:
        config = self.config
        log_mel, lyrics, mask, labels = batch
        hidden = self.network.hidden_states(lyrics, mask)
        if config.mixup:
            log_mel, hidden, mask, labels = mixup((log_mel, hidden, mask, labels), config.mixup)
        if config.masked_bands or config.masked_frames:
            log_mel = spec_augment(log_mel, config.masked_bands, config.masked_frames)
        lyrics_dropped = torch.rand(len(mask), device=mask.device) < config.lyrics_dropout
        output = self.network.classify(log_mel, hidden, mask, self.network.genre_vectors(), lyrics_dropped)
        loss = genre_loss(
            output.logits, labels, config.positive_focus, config.negative_focus, config.negative_margin
        )
        if output.audio_embedding is not None and output.lyrics_embedding is not None:
            audio_embedding, lyrics_embedding, has_lyrics = map(
                self._gather_ranks, (output.audio_embedding, output.lyrics_embedding, mask.any(1))
            )
            weight = config.contrastive_weight
            similarity = self.network.similarity(audio_embedding, lyrics_embedding)
            loss = weight * contrastive_loss(similarity, has_lyrics) + (1 - weight) * loss
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def _gather_ranks(self, rows: Tensor) -> Tensor:
        """Return all ranks' rows, (B, …) to (ranks · B, …). Gradients flow back to the rank of each row."""
        if self.trainer.world_size == 1:
            return rows
        gathered = cast(Tensor, self.all_gather(rows, sync_grads=rows.requires_grad))
        return gathered.flatten(0, 1)

    def on_train_epoch_end(self) -> None:
        if not self.trainer.callback_metrics["train/loss"].isfinite():
            raise TrainingError(
                f"training diverged in epoch {self.current_epoch + 1}: the loss is not finite. "
                "Lower fit.learning_rate"
            )
        probabilities = predict(self.network, self.valid)
        metrics = compute_metrics(probabilities, probabilities >= 0.5, self.valid.labels)
        self.log("valid/map", metrics["map"], prog_bar=True, sync_dist=True)
        self.log("valid/f1", metrics["f1"], prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Optimizer:
        config = self.config
        encoders = {
            weight for encoder in self.network.pretrained_encoders() for weight in encoder.parameters()
        }
        rates: dict[float, list[Parameter]] = {config.learning_rate: [], config.encoder_learning_rate: []}
        for weight in self.network.parameters():
            if weight.requires_grad:
                rate = config.encoder_learning_rate if weight in encoders else config.learning_rate
                rates[rate].append(weight)
        # The fused optimiser is faster with denormal numbers on a CPU. In mixed precision it does not support
        # gradient clipping.
        fused = config.precision == "32-true"
        groups = [
            {"params": weights, "lr": rate, "initial_lr": rate} for rate, weights in rates.items() if weights
        ]
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)

    def on_train_start(self) -> None:
        # A resumed run may have been killed after early stopping ended it.
        for stopping in self.trainer.early_stopping_callbacks:
            if isinstance(stopping, EarlyStopping) and stopping.wait_count >= stopping.patience:
                self.trainer.should_stop = True


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically.

    Lightning writes to the system's temporary folder and then moves the file. Across file systems the move is
    a copy over the previous checkpoint, so that a run killed during the copy would lose both.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: object = None,  # noqa: ARG002 - Lightning's interface
    ) -> None:
        # Serialised in memory first: torch does not raise OSError when the disk is full.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with new_file(Path(path)) as file:
            file.write(content.getbuffer())


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch's weights, and finds them after the folder of a stopped run was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = str(Path(self.dirpath or "") / f"{BEST}{self.FILE_EXTENSION}")
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": best,
            "kth_best_model_path": best,
            "best_k_models": {best: state_dict["best_model_score"]},
        }
        super().load_state_dict(state_dict | moved)


def build_trainer(config: FitConfig, callbacks: list[Callback], logger: Logger | None) -> lightning.Trainer:
    """Return Lightning's trainer as configured. Without a logger it shows no progress bar."""
    return lightning.Trainer(
        max_epochs=config.epochs,
        callbacks=callbacks,
        enable_progress_bar=logger is not None,
        logger=logger or False,
        log_every_n_steps=1,
        precision=config.precision,
        devices=config.devices if torch.cuda.is_available() or config.devices != "auto" else 1,
        num_nodes=config.nodes,
        gradient_clip_val=config.gradient_clip,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_model_summary=False,
        use_distributed_sampler=False,
        plugins=[AtomicCheckpointIO()],
    )


def train(
    network: Network,
    train: Features,
    valid: Features,
    config: FitConfig,
    folder: Path,
    show_progress: bool = True,
) -> bool:
    """Train `network` and leave the weights of the epoch with the best validation mAP in it.

    Checkpoints and the log are written to `folder`; if it has a checkpoint, training resumes from there.
    Returns whether this process is the first of those that train together; the others have nothing left to
    do. Raises TrainingError if the loss diverges or the GPU's memory is too small, OutputError if `folder`
    cannot be written.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    best = BestCheckpoint(
        folder, BEST, "valid/map", mode="max", save_weights_only=True, enable_version_counter=False
    )
    # Saved after `best`, so that it includes which epoch is the best.
    last = ModelCheckpoint(folder, Path(LAST).stem, enable_version_counter=False)
    callbacks: list[Callback] = [EpochLog(folder / LOG_FILE, show_progress), best, last]
    if show_progress:
        callbacks.append(EpochBar())
    if config.patience is not None:
        callbacks.append(EarlyStopping("valid/map", mode="max", patience=config.patience))
    logger = (
        TensorBoardLogger(folder, "", TENSORBOARD_FOLDER, default_hp_metric=False) if show_progress else None
    )
    trainer = build_trainer(config, callbacks, logger)
    sampler = EpochSampler(len(train), config.seed, trainer.global_rank, trainer.world_size)
    loader = DataLoader(
        RandomWindows(train),
        batch_size=config.batch,
        sampler=sampler,
        drop_last=len(sampler) > config.batch,
        # A separate generator, so that the loader's own draws do not shift those of the epoch.
        generator=torch.Generator(),
    )
    with warnings.catch_warnings():
        # The features are computed already: worker processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # The frozen lyrics encoder stays in eval mode.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
        # The folder of a stopped run contains the checkpoint to resume from.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message="The dirpath has changed")
        resume_from = folder / LAST if (folder / LAST).exists() else None
        try:
            trainer.fit(FitModule(network, config, valid), loader, ckpt_path=resume_from)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"the GPU's memory is too small for fit.batch = {config.batch}: lower fit.batch"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot write to {folder} ({error.strerror}): free some space") from error
    if not trainer.is_global_zero:
        return False
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): weight for name, weight in state.items()})
    # Lightning moves the network to the CPU at the end.
    network.to(trainer.strategy.root_device)
    return True
