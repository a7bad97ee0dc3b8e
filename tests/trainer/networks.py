"""Networks of random weights, with a BERT that is built in no time."""

import torch
from transformers import BertConfig, BertModel

from trainer.audio_model import load_audio_model
from trainer.config import NetworkConfig
from trainer.network import Network

GENRES = 4
VOCABULARY = 50
LYRICS_WIDTH = 16


def build(config: NetworkConfig) -> Network:
    """In evaluation mode."""
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=LYRICS_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=config.max_tokens,
        ),
        add_pooling_layer=False,
    )
    heard = load_audio_model(config.audio_model, config.audio) if config.audio_model else None
    nodes, correlation = torch.randn(GENRES, LYRICS_WIDTH), torch.rand(GENRES, GENRES)
    return Network(config, bert, nodes, correlation, heard).eval()
