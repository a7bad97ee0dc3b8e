"""Writes a checkpoint of the `paper` preset with random weights, without any download.

Its lyrics encoder has the size of BERT-base. Its tokenizer splits words into characters, so that a few lines
of lyrics reach the token limit. Its labels are random, and it runs as fast as a trained network.
"""

import string
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from torch import nn
from transformers import BertConfig, BertModel

from schemas.bundle import Genre, Measurement
from trainer.checkpoint import DataSet, Description, save_checkpoint
from trainer.config import preset
from trainer.network.lyrics_model import SPECIAL
from trainer.network.network import Network

GENRES = 87
"""Number of genres in the paper."""


def write_paper_checkpoint(folder: Path) -> None:
    """Write the checkpoint, always with the same weights. `folder` must not exist yet."""
    torch.manual_seed(0)
    config = preset("paper")
    encoder = BertModel(BertConfig(), add_pooling_layer=False)
    correlations = torch.rand(GENRES, GENRES)
    network = Network(config.network, encoder, torch.randn(GENRES, encoder.config.hidden_size), correlations)
    for module in network.audio_encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            # Values as after training. With 0 and 1, the exporter would remove these operators.
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    description = Description(
        config=config,
        genres=tuple(Genre(slug=f"genre-{at}", name=f"Genre {at}") for at in range(1, GENRES + 1)),
        thresholds=(0.5,) * GENRES,
        correlations=tuple(map(tuple, correlations.tolist())),
        data_set=DataSet(name="none", synthetic=True, tracks={"train": 0}),
        measurements=(
            Measurement(data_set="none: random weights", split="test", tracks=1, metrics={"map": 0}),
        )
        * 2,
    )
    folder.mkdir(parents=True)
    save_checkpoint(folder, description, network.eval(), _tokenizer()._tokenizer, ())


def _tokenizer() -> BertWordPieceTokenizer:
    characters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    return BertWordPieceTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
