"""From a manifest to a checkpoint, on PyTorch Lightning.

```
<out>.unfinished/    what a run that was stopped needs to carry on; gone when <out> is complete
    run.json         settings and tracks: another run does not carry on here
    lyrics/          the little BERT, where the lyrics encoder is one
    features/        what every process of the run, and whoever carries it on, trains on
    last.ckpt        weights, optimiser and log as of the last complete epoch
    best.ckpt        weights of the epoch with the best validation mAP
    metrics.csv      a line an epoch
    tensorboard/     the same for `tensorboard --logdir`
<out>/               the checkpoint
```
Machines that train together share the folder of <out>.
"""

import io
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from pydantic import BaseModel
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from storage.atomic import lock_folder, make_folder, new_file, new_folder, refuse_existing, write_text
from storage.errors import OutputError
from trainer.checkpoint import DataSet, Description, save_checkpoint
from trainer.config import FitConfig, TrainingConfig
from trainer.data.library import Library
from trainer.data.read import read_library, require_examples
from trainer.data.splits import artist_digest
from trainer.data.track import SPLITS
from trainer.errors import TrainingError
from trainer.evaluation.metrics import measure
from trainer.evaluation.quick import measurements, predict, thresholds_of
from trainer.features.cache import Cache
from trainer.features.extract import report_left_out
from trainer.features.features import Example, Features, RandomWindows
from trainer.features.prepare import load_or_train_lyrics_model, prepare
from trainer.fit.augment import mixup, spec_augment
from trainer.fit.epochs import EpochBar, EpochLog, EpochOrder
from trainer.network.losses import contrastive_loss, genre_loss
from trainer.network.network import Network

LOG_FILE, TENSORBOARD_FOLDER, RUN_FILE = "metrics.csv", "tensorboard", "run.json"
LAST, BEST = "last.ckpt", "best"

log = logging.getLogger(__name__)


class Run(BaseModel):
    """`run.json`"""

    config: TrainingConfig
    tracks: str
    """Identity of the tracks, their splits and their genres."""


class FitModule(lightning.LightningModule):
    """The training step and its schedule; validation by mAP, which needs no thresholds."""

    def __init__(self, network: Network, config: FitConfig, valid: Features) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.valid = valid

    def on_train_batch_start(self, _: Example, __: int) -> None:
        # Not a scheduler: Lightning saves an epoch before it steps those.
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
            audio, lyrics, has_lyrics = map(
                self._of_all_ranks, (output.audio_embedding, output.lyrics_embedding, mask.any(1))
            )
            weight = config.contrastive_weight
            similarity = self.network.similarity(audio, lyrics)
            loss = weight * contrastive_loss(similarity, has_lyrics) + (1 - weight) * loss
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def _of_all_ranks(self, rows: Tensor) -> Tensor:
        """(ranks · B, …): every rank's rows, through which gradients go back to the rank they came from."""
        if self.trainer.world_size == 1:
            return rows
        gathered = cast(Tensor, self.all_gather(rows, sync_grads=rows.requires_grad))
        return gathered.flatten(0, 1)

    def on_train_epoch_end(self) -> None:
        if not self.trainer.callback_metrics["train/loss"].isfinite():
            raise TrainingError(
                f"training diverged in epoch {self.current_epoch + 1}: the loss is no number any more. Lower "
                "fit.learning_rate"
            )
        probabilities = predict(self.network, self.valid)
        metrics = measure(probabilities, probabilities >= 0.5, self.valid.labels)
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
        # The plain one is slow on the denormal numbers of a CPU; in mixed precision, the fused one does not
        # let its gradients be clipped.
        fused = config.precision == "32-true"
        groups = [{"params": found, "lr": rate, "initial_lr": rate} for rate, found in rates.items() if found]
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)

    def on_train_start(self) -> None:
        # A run that is carried on may have stopped early before it was killed.
        for stopping in self.trainer.early_stopping_callbacks:
            if isinstance(stopping, EarlyStopping) and stopping.wait_count >= stopping.patience:
                self.trainer.should_stop = True


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own are moved here from the system's temporary folder. From another file system that is a
    copy over the last one, and a run that is killed meanwhile is left with neither.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: object = None,  # noqa: ARG002 - Lightning's interface
    ) -> None:
        # Into memory first: torch tells of a full disk by no OSError.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with new_file(Path(path)) as file:
            file.write(content.getbuffer())


class BestEpoch(ModelCheckpoint):
    """Knows the best epoch so far though the folder of a stopped run was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = str(Path(self.dirpath or "") / f"{BEST}{self.FILE_EXTENSION}")
        here = {
            "dirpath": self.dirpath,
            "best_model_path": best,
            "kth_best_model_path": best,
            "best_k_models": {best: state_dict["best_model_score"]},
        }
        super().load_state_dict(state_dict | here)


def fit(
    source: Path,
    config: TrainingConfig,
    out: Path,
    data_set: str | None,
    synthetic: bool,
    cache: Path | None = None,
) -> Description:
    """Train on what `read_library` reads and write a checkpoint to the folder `out`, complete or not at all.

    Kept are the weights of the epoch with the best validation mAP; thresholds are fitted on validation,
    and the test split is measured once. A run that was stopped is carried on by the same call, to the same
    metrics. `data_set` is what the data are called; without it they have their folder's name. `cache` is a
    folder that keeps what is computed of files for other runs; without it nothing is kept. Raises a
    TrainerError.
    """
    refuse_existing(out)
    library = read_library(source)
    data_set = data_set or library.name
    require_examples(library)
    unfinished = out.with_name(f"{out.name}.unfinished")
    _begin(unfinished, library, config)
    kept = Cache(cache or unfinished / "cache")
    # Of the processes that train together the first to come prepares, and the others find what it has made.
    with lock_folder(unfinished):
        lyrics_model = load_or_train_lyrics_model(library, config, unfinished / "lyrics")
        prepared = prepare(library, lyrics_model, config.network, kept, unfinished / "features")
    report_left_out(
        prepared.features.values(), f"; files mended since are heard once {unfinished} is removed"
    )
    lightning.seed_everything(config.fit.seed, verbose=False)
    network, features = prepared.build_network(config.network), prepared.features
    if not train(network, features["train"], features["valid"], config.fit, unfinished):
        # Lightning started this process for another device: the first one writes the checkpoint.
        raise SystemExit(0)
    log.info("measuring %d tracks of split test", len(features["test"]))
    thresholds = thresholds_of(network, features["valid"], config.fit.threshold)
    description = Description(
        config=config,
        genres=library.genres,
        thresholds=tuple(thresholds.tolist()),
        correlations=tuple(tuple(row) for row in prepared.correlation.tolist()),
        data_set=DataSet(
            name=data_set, synthetic=synthetic, tracks={split: len(features[split]) for split in SPLITS}
        ),
        measurements=measurements(network, features["test"], "test", thresholds, library.genres, data_set),
    )
    known = (features["train"], features["valid"])
    trained_on = {digest for own in known for digest in own.digests}
    trained_on |= {artist for own in known for track in own.tracks if (artist := artist_digest(track))}
    with new_folder(out) as folder:
        shutil.copy(unfinished / LOG_FILE, folder)
        shutil.copytree(unfinished / TENSORBOARD_FOLDER, folder / TENSORBOARD_FOLDER)
        save_checkpoint(folder, description, network.cpu(), lyrics_model.tokenizer, trained_on)
    # What is mapped still, some file systems keep.
    shutil.rmtree(unfinished, ignore_errors=True)
    report_left_out(features.values())
    return description


def _begin(unfinished: Path, library: Library, config: TrainingConfig) -> None:
    """Raises OutputError where the folder holds another run."""
    run = Run(config=config, tracks=library.identity).model_dump_json(indent=2) + "\n"
    file = unfinished / RUN_FILE
    if not file.exists():
        make_folder(unfinished)
        write_text(file, run)
    elif file.read_text() != run:
        raise OutputError(
            f"{unfinished} holds a run of other settings or other tracks that was stopped: "
            "start that one again, or remove the folder"
        )
    elif (unfinished / LAST).exists():
        log.info("carrying on with the run in %s", unfinished)


def trainer_of(config: FitConfig, callbacks: list[Callback], logger: Logger | None) -> lightning.Trainer:
    """Lightning's, as configured. What runs unseen has no logger."""
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
        plugins=[WholeCheckpoints()],
    )


def train(
    network: Network, train: Features, valid: Features, config: FitConfig, folder: Path, shown: bool = True
) -> bool:
    """Leaves the weights of the best epoch in `network`, and the log in `folder`.

    What `folder` holds of the same run is carried on. Progress is shown unless `shown` is false. Returns
    whether this process is the first of those that train together: the others have nothing more to do.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    best = BestEpoch(
        folder, BEST, "valid/map", mode="max", save_weights_only=True, enable_version_counter=False
    )
    # After the other, so that it knows which epoch is the best.
    last = ModelCheckpoint(folder, Path(LAST).stem, enable_version_counter=False)
    callbacks: list[Callback] = [EpochLog(folder / LOG_FILE, shown), best, last]
    if shown:
        callbacks.append(EpochBar())
    if config.patience is not None:
        callbacks.append(EarlyStopping("valid/map", mode="max", patience=config.patience))
    logger = TensorBoardLogger(folder, "", TENSORBOARD_FOLDER, default_hp_metric=False) if shown else None
    trainer = trainer_of(config, callbacks, logger)
    order = EpochOrder(len(train), config.seed, trainer.global_rank, trainer.world_size)
    loader = DataLoader(
        RandomWindows(train),
        batch_size=config.batch,
        sampler=order,
        drop_last=len(order) > config.batch,
        # Of its own: what it draws does not shift the epoch's.
        generator=torch.Generator(),
    )
    with warnings.catch_warnings():
        # Its examples are ready, in memory or on a disk: worker processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # The frozen lyrics encoder.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
        # What a stopped run has left there is what it is carried on with.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message="The dirpath has changed")
        begun = folder / LAST if (folder / LAST).exists() else None
        try:
            trainer.fit(FitModule(network, config, valid), loader, ckpt_path=begun)
        except torch.OutOfMemoryError as error:
            raise TrainingError("the GPU has too little memory: lower fit.batch") from error
        except OSError as error:
            raise OutputError(f"cannot write to {folder} ({error.strerror}): make room") from error
    if not trainer.is_global_zero:
        return False
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): weight for name, weight in state.items()})
    # Lightning leaves it on the CPU.
    network.to(trainer.strategy.root_device)
    return True
