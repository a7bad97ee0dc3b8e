"""A trained network in a folder that needs nothing else.

```
checkpoint.json        configuration, genres, thresholds, correlations, data set, measurements
weights.safetensors    all weights, those of frozen encoders too
tokenizer.json         Hugging Face tokenizers' own format
lyrics_encoder/        config.json of the lyrics encoder
audio_encoder/         config.json and preprocessor_config.json of the audio model, where there is one
trained_on.txt         SHA-256 of each recording and artist of the training and validation splits, a line each
metrics.csv            a line an epoch
tensorboard/           the same for `tensorboard --logdir`
```
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel

from media.tokens import LyricsTokenizer
from schemas.bundle import Genre, Measurement, Probability
from trainer.config import TrainingConfig
from trainer.errors import CheckpointError
from trainer.network.audio_model import AudioModel, audio_model_without_weights
from trainer.network.lyrics_model import without_pooler
from trainer.network.network import Network

DESCRIPTION_FILE = "checkpoint.json"
WEIGHTS_FILE = "weights.safetensors"
TOKENIZER_FILE = "tokenizer.json"
TRAINED_ON_FILE = "trained_on.txt"
LYRICS_ENCODER_FOLDER, AUDIO_ENCODER_FOLDER = "lyrics_encoder", "audio_encoder"


class DataSet(BaseModel):
    """What a checkpoint was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    synthetic: bool = Field(description="Whether its music was made by a program.")
    tracks: dict[str, int] = Field(description="Split to tracks used.")


class Description(BaseModel):
    """`checkpoint.json`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint_version: Literal[3] = 3
    config: TrainingConfig
    genres: tuple[Genre, ...] = Field(min_length=1, description="In the order of the logits.")
    thresholds: tuple[Probability, ...]
    correlations: tuple[tuple[float, ...], ...] = Field(description="A = ½(A¹ + A²), G × G.")
    data_set: DataSet
    measurements: tuple[Measurement, ...]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        count = len(self.genres)
        if not count == len(self.thresholds) == len(self.correlations):
            raise ValueError("genres, thresholds and correlations differ in number")
        return self


@dataclass(frozen=True)
class Checkpoint:
    description: Description
    network: Network
    """In evaluation mode, on the CPU."""
    tokenizer_file: Path
    trained_on: frozenset[str]
    """Digests of recordings, and of artists, that it must not be measured on."""

    @property
    def tokenizer(self) -> LyricsTokenizer:
        return LyricsTokenizer(self.tokenizer_file, self.description.config.network.max_tokens)


def save_checkpoint(
    folder: Path,
    description: Description,
    network: Network,
    tokenizer: Tokenizer,
    trained_on: Collection[str],
) -> None:
    """Write a checkpoint into `folder`, an existing one."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    (folder / WEIGHTS_FILE).write_bytes(save(tensors))
    tokenizer.save(str(folder / TOKENIZER_FILE))
    (folder / TRAINED_ON_FILE).write_text("".join(f"{digest}\n" for digest in sorted(trained_on)))
    network.lyrics_encoder.config.save_pretrained(folder / LYRICS_ENCODER_FOLDER)
    if network.audio_model is not None:
        network.audio_model.save(folder / AUDIO_ENCODER_FOLDER)
    (folder / DESCRIPTION_FILE).write_text(description.model_dump_json(indent=2) + "\n")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Raises CheckpointError, naming the file and what is wrong with it."""
    path = folder / DESCRIPTION_FILE
    try:
        description = Description.model_validate_json(path.read_text())
    except OSError as error:
        raise CheckpointError(
            f"no checkpoint at {folder}: cannot read {DESCRIPTION_FILE} ({error.strerror}); "
            "give the folder that `cogenre-train fit --out` wrote"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "checkpoint"
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error
    tokenizer_file = folder / TOKENIZER_FILE
    if not tokenizer_file.is_file():
        raise CheckpointError(f"{folder} lacks {TOKENIZER_FILE}: copy the checkpoint again")
    audio_model: AudioModel | None = None
    try:
        encoder = without_pooler(
            AutoModel.from_config(AutoConfig.from_pretrained(folder / LYRICS_ENCODER_FOLDER))
        )
        if description.config.network.audio_model:
            audio_model = audio_model_without_weights(folder / AUDIO_ENCODER_FOLDER)
        weights = load_file(folder / WEIGHTS_FILE)
        trained_on = frozenset((folder / TRAINED_ON_FILE).read_text().split())
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder} is damaged ({reason}): copy the checkpoint again") from error
    count = len(description.genres)
    nodes = torch.zeros(count, encoder.config.hidden_size)
    network = Network(description.config.network, encoder, nodes, torch.zeros(count, count), audio_model)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{folder / WEIGHTS_FILE} is of another configuration: {reason}") from error
    return Checkpoint(description, network.eval(), tokenizer_file, trained_on)
