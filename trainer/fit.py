"""From a manifest to a checkpoint, on PyTorch Lightning."""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from trainer.atomic import new_folder
from trainer.cache import Cache
from trainer.checkpoint import DataSet, Description, save_checkpoint
from trainer.config import FitConfig, TrainingConfig
from trainer.data import SPLITS, read_library
from trainer.evaluate import measurements, predict
from trainer.extract import report_left_out
from trainer.features import Example, Features, RandomWindows
from trainer.losses import contrastive_loss, genre_loss
from trainer.metrics import best_thresholds, measure
from trainer.network import Network
from trainer.prepare import lyrics_model_of, prepare
from trainer.splits import require_examples

LOG_FILE = "metrics.csv"


class FitModule(lightning.LightningModule):
    """The training step and its schedule; validation by mAP, which needs no thresholds."""

    def __init__(self, network: Network, config: FitConfig, valid: Features) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.valid = valid

    def training_step(self, batch: Example, _: int) -> Tensor:
        log_mel, hidden, mask, labels = batch
        withheld = torch.rand(len(mask), device=mask.device) < self.config.lyrics_dropout
        output = self.network.classify(log_mel, hidden, mask, self.network.genre_vectors(), withheld)
        loss = genre_loss(output.logits, labels)
        if output.heard is not None and output.read is not None:
            similarity = self.network.similarity(output.heard, output.read)
            weight = self.config.contrastive_weight
            loss = weight * contrastive_loss(similarity, mask.any(1)) + (1 - weight) * loss
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        probabilities = predict(self.network, self.valid)
        metrics = measure(probabilities, probabilities >= 0.5, self.valid.labels)
        self.log("valid/map", metrics["map"], prog_bar=True)
        self.log("valid/f1", metrics["f1"], prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        # Fused: the plain one is slow on the denormal numbers of a CPU.
        optimiser = torch.optim.AdamW(
            trained, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, self.config.halve_every, gamma=0.5)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def fit(
    source: Path, config: TrainingConfig, out: Path, data_set: str, synthetic: bool, cache: Path | None = None
) -> Description:
    """Train on what `read_library` reads and write a checkpoint to the folder `out`, complete or not at all.

    Kept are the weights of the epoch with the best validation mAP; thresholds are fitted on validation,
    and the test split is measured once. `cache` is a folder that keeps what is computed of files for other
    runs; without it nothing is kept. Raises a TrainerError.
    """
    library = read_library(source)
    require_examples(library)
    with (
        new_folder(out) as folder,
        tempfile.TemporaryDirectory(prefix=".features.", dir=out.parent) as scratch,
    ):
        kept = Cache(cache or Path(scratch) / "cache")
        prepared = prepare(library, lyrics_model_of(library, config), config.network, kept, Path(scratch))
        lightning.seed_everything(config.fit.seed, verbose=False)
        network, features = prepared.network(config.network), prepared.features
        train(network, features["train"], features["valid"], config.fit, Path(scratch))
        shutil.copy(Path(scratch) / "log" / LOG_FILE, folder)

        thresholds = best_thresholds(predict(network, features["valid"]), features["valid"].labels)
        description = Description(
            config=config,
            genres=library.genres,
            thresholds=tuple(thresholds.tolist()),
            correlations=tuple(tuple(row) for row in prepared.correlation.tolist()),
            data_set=DataSet(
                name=data_set, synthetic=synthetic, tracks={split: len(features[split]) for split in SPLITS}
            ),
            measurements=measurements(
                network, features["test"], "test", thresholds, library.genres, data_set
            ),
        )
        save_checkpoint(folder, description, network.cpu(), prepared.lyrics_model.tokenizer)
    report_left_out(features.values())
    return description


def train(
    network: Network, train: Features, valid: Features, config: FitConfig, scratch: Path, bar: bool = True
) -> None:
    """Leaves the weights of the best epoch in `network`, and the log in `scratch`; shows a progress bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    best = ModelCheckpoint(scratch / "epochs", monitor="valid/map", mode="max", save_weights_only=True)
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        callbacks=[best, RichProgressBar()] if bar else [best],
        enable_progress_bar=bar,
        logger=CSVLogger(scratch, name="log", version=""),
        log_every_n_steps=1,
        gradient_clip_val=config.gradient_clip,
        enable_model_summary=False,
    )
    loader = DataLoader(
        RandomWindows(train), batch_size=config.batch, shuffle=True, drop_last=len(train) > config.batch
    )
    with warnings.catch_warnings():
        # Its examples are ready: worker processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # The frozen lyrics encoder.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
        trainer.fit(FitModule(network, config, valid), loader)
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): weight for name, weight in state.items()})
