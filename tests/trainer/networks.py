"""Networks with random weights and a small BERT."""

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from trainer.config import NetworkConfig
from trainer.network.audio_model import load_audio_model
from trainer.network.network import Network

GENRES = 4
VOCABULARY = 50
LYRICS_WIDTH = 16


def batch(config: NetworkConfig, mask: Tensor) -> tuple[Tensor, ...]:
    """Return log-mels, hidden states, `mask` (tracks, tokens) and labels: the batch of a training step."""
    chance = torch.Generator().manual_seed(1)
    frames = 1 + config.audio.window_samples // config.hop
    tracks, tokens = mask.shape
    return (
        torch.rand(tracks, config.mels, frames, generator=chance),
        torch.randn(tracks, tokens, LYRICS_WIDTH, generator=chance),
        mask,
        torch.randint(2, (tracks, GENRES), generator=chance).float(),
    )


def build(config: NetworkConfig) -> Network:
    """Return a network in evaluation mode."""
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
    audio_model = load_audio_model(config.audio_model, config.audio) if config.audio_model else None
    nodes, correlation = torch.randn(GENRES, LYRICS_WIDTH), torch.rand(GENRES, GENRES)
    return Network(config, bert, nodes, correlation, audio_model).eval()
