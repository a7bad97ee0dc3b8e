"""A tiny checkpoint with random weights and its bundle. An export takes seconds, so all tests share one."""

from pathlib import Path

import pytest
import torch

from exporter.bundle import PrecisionOptions, write_bundle
from schemas.bundle import Genre, Measurement
from tests.trainer.conftest import TINY
from trainer.checkpoint import Checkpoint, DataSet, Description, load_checkpoint, save_checkpoint
from trainer.config import FitConfig, LittleBert, TrainingConfig
from trainer.network.lyrics_model import train_little_bert
from trainer.network.network import Network

GENRES = (
    Genre(slug="electronic", name="Electronic"),
    Genre(slug="techno", name="Techno", parent="electronic"),
    Genre(slug="folk", name="Folk"),
)
LITTLE = LittleBert(vocabulary=60, layers=1, width=16, heads=2, steps=1)
CONFIG = TrainingConfig(
    network=TINY.network.model_copy(update={"lyrics_model": LITTLE, "max_tokens": 40, "dropout": 0.2}),
    fit=FitConfig(),
)


def write_checkpoint(folder: Path, synthetic: bool, config: TrainingConfig = CONFIG) -> Path:
    torch.manual_seed(0)
    lyrics_model = train_little_bert(LITTLE, ["love me tonight", "the train rolls on"], 40, seed=0)
    network = Network(config.network, lyrics_model.encoder, torch.randn(3, 16), torch.rand(3, 3))
    # The initial running statistics of batch norm, 0 and 1, would hide an error in their export.
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.5, 0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    metrics = {"accuracy": 0.5, "f1": 0.625, "map": 0.75}
    worse = {name: value - 0.25 for name, value in metrics.items()}
    description = Description(
        config=config,
        genres=GENRES,
        thresholds=(0.25, 0.5, 0.75),
        correlations=((1.0, 0.5, 0.25), (0.5, 1.0, 0.125), (0.25, 0.125, 1.0)),
        data_set=DataSet(name="tones", synthetic=synthetic, tracks={"train": 4, "valid": 2, "test": 2}),
        measurements=(
            Measurement(data_set="tones", split="test", tracks=2, metrics=metrics),
            Measurement(data_set="tones", split="test, lyrics dropped", tracks=2, metrics=worse),
        ),
    )
    folder.mkdir()
    save_checkpoint(folder, description, network, lyrics_model.tokenizer, ())
    return folder


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint", synthetic=True)


@pytest.fixture
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    """Checkpoint loaded for each test, because tests modify it."""
    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="session")
def bundle_folder(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    options = PrecisionOptions(("fp16", "int8"), allow_loss=True)
    write_bundle(load_checkpoint(checkpoint_folder), folder, "tiny", "1.0.0", options)
    return folder
