"""The complete network of Ru et al. (ICASSP 2023, arXiv 2303.07667).

```
waveform ─► log-mel ─► E_a ─► audio tokens ──┬─► attend to lyrics ─► pool ─┐
                                       g_a·g_l: L_AL                       ⊕─► FC ─► fused ─┐
lyrics ──────────────► E_l ─► lyrics tokens ─┴─► attend to audio ──► pool ─┘                · ─► logits
genre names ─────────► E_l ─► nodes ─────────► GCN over A ─────────► genre vectors ─────────┘
```
E_a, E_l: audio and lyrics encoder. g_a, g_l: projections for the contrastive loss L_AL. SCMA (symmetric
cross-modal attention): the two attentions. GCEM (genre correlations extraction module): the graph convolution
(GCN) over the genre correlations A.

Shapes: B = batch, S = samples, T = lyrics tokens, P = audio tokens, W = `NetworkConfig.width`, G = genres,
H = hidden size of E_l.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import PreTrainedModel

from trainer.config import NetworkConfig
from trainer.network.audio_model import AudioModel, ExtractedFeatures, PretrainedEncoder
from trainer.network.frontend import LogMel
from trainer.network.genre_graph import propagation

MAX_LOGIT_SCALE = 100.0
"""Upper bound of 1/τ, as in CLIP (Radford et al., 2021): training is unstable above it."""


class AudioEncoder(nn.Module):
    """E_a: five convolutional blocks. Log-mels (B, mels, frames) to audio tokens (B, P, W)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        # Normalises each mel band by its statistics in training.
        self.norm = nn.BatchNorm1d(config.mels)
        blocks: list[nn.Module] = []
        inputs = 1
        for outputs, time_pooling in zip(config.channels, config.time_pooling, strict=True):
            blocks += [
                nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d((2, time_pooling)),
            ]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        bands = config.mels // 2 ** len(config.channels)
        self.project = nn.Linear(inputs * bands, config.width)

    def forward(self, log_mel: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.norm(log_mel)[:, None])
        tokens: Tensor = self.project(maps.flatten(1, 2).transpose(1, 2))
        return tokens


class LyricsTokens(nn.Module):
    """Hidden states of E_l (B, T, H) and mask (B, T) to lyrics tokens (B, 1 + T, W) and their mask.

    Token 0 is learned and represents missing lyrics. Its mask is true only for tracks without lyrics, so that
    every row of the mask has a true element, and padding does not change the results.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden_size, width)
        self.missing = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        present = mask.bool()
        missing = ~present.any(dim=1, keepdim=True)
        tokens = self.project(hidden)
        first = self.missing.expand(tokens.shape[0], 1, -1)
        return torch.cat([first, tokens], dim=1), torch.cat([missing, present], dim=1)


class CrossAttention(nn.Module):
    """One direction of SCMA: x + softmax(Q_α K_βᵀ / √d) V_β, with d the width of a head.

    The inputs are normalised (pre-norm). With the norm after the residual, the network learned far less from
    the lyrics. If `hidden` is not 0, a feed-forward layer of that width follows, with a residual of its own.
    """

    def __init__(self, width: int, heads: int, dropout: float, hidden: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.other_norm = nn.LayerNorm(width)
        self.hidden = None
        if hidden:
            inner, outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
            self.hidden = nn.Sequential(nn.LayerNorm(width), inner, nn.ReLU(), outer, self.dropout)

    def forward(self, x: Tensor, other: Tensor, other_mask: Tensor | None = None) -> Tensor:
        """Let x (B, N, W) attend to the tokens `other` (B, M, W) whose `other_mask` (B, M) is true.

        Returns (B, N, W).
        """
        q = self._split_heads(self.query(self.norm(x)))
        k, v = (self._split_heads(part) for part in self.key_value(self.other_norm(other)).chunk(2, dim=-1))
        mask = None if other_mask is None else other_mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        joined = attended.transpose(1, 2).flatten(2)
        result: Tensor = x + self.dropout(self.out(joined))
        return result if self.hidden is None else result + self.hidden(result)

    def _split_heads(self, x: Tensor) -> Tensor:
        """Return x (B, N, W) split into heads, (B, heads, N, W / heads)."""
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)


class GenreGraph(nn.Module):
    """GCEM: genre vectors (G, W) by graph convolutions X ← σ(Â X W) over the embeddings of the genre names.

    Kipf and Welling (2017). The weights W start at unit scale, and the products are divided by √(input width)
    instead, so that the genre vectors start as long as `FreeVectors`. With weights of the usual small scale,
    Adam's steps, whose size does not depend on the scale, would change a genre vector many times as fast as a
    free one, and training would converge more slowly than without GCEM.
    """

    nodes: Tensor
    correlation: Tensor

    def __init__(self, nodes: Tensor, correlation: Tensor, config: NetworkConfig) -> None:
        super().__init__()
        self.self_loop = config.self_loop
        self.register_buffer("nodes", nodes)
        self.register_buffer("correlation", correlation)
        widths = (nodes.shape[1], *[config.graph_width] * (config.graph_layers - 1), config.width)
        self.weights = nn.ParameterList(torch.randn(*sides) for sides in pairwise(widths))

    def forward(self) -> Tensor:
        x = F.normalize(self.nodes, dim=-1)
        adjacency = propagation(self.correlation, self.self_loop)
        first, *others = self.weights
        vectors: Tensor = adjacency @ x @ first
        for weight in others:
            vectors = adjacency @ vectors.relu() @ weight / math.sqrt(len(weight))
        return vectors / math.sqrt(vectors.shape[1])


class FreeVectors(nn.Module):
    """Genre vectors (G, W) as independent weights: the baseline without GCEM."""

    def __init__(self, genres: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(genres, width) / math.sqrt(width))

    def forward(self) -> Tensor:
        return self.vectors


class Output(NamedTuple):
    """Outputs of the network for a batch of windows."""

    logits: Tensor
    """(B, G), before the sigmoid."""
    embedding: Tensor
    """(B, W), the fused vector."""
    audio_embedding: Tensor | None
    """(B, projection), unit vectors g_a(E_a) of the contrastive loss; None if `contrastive` is off."""
    lyrics_embedding: Tensor | None
    """(B, projection), unit vectors g_l(E_l) of the contrastive loss; None if `contrastive` is off."""


class Network(nn.Module):
    """The complete network.

    `nodes` (G, H), `correlation` (G, G) and frozen encoders do not change in training. `audio_model` is the
    pre-trained model that `config.audio_model` names, or None.
    """

    def __init__(
        self,
        config: NetworkConfig,
        lyrics_encoder: PreTrainedModel,
        nodes: Tensor,
        correlation: Tensor,
        audio_model: AudioModel | None = None,
    ) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.audio_model = audio_model
        self.frontend: LogMel | ExtractedFeatures
        self.audio_encoder: AudioEncoder | PretrainedEncoder
        if audio_model is None:
            self.frontend, self.audio_encoder = LogMel(config), AudioEncoder(config)
        else:
            self.frontend = ExtractedFeatures(audio_model.extractor)
            self.audio_encoder = PretrainedEncoder(audio_model.encoder, width)
        self.lyrics_encoder = lyrics_encoder
        for encoder in self._frozen_encoders():
            encoder.requires_grad_(False).eval()
        # The temperature is learned only if the contrastive loss uses it.
        self.log_scale = nn.Parameter(
            torch.tensor(-math.log(config.temperature)), requires_grad=config.contrastive
        )
        if config.lyrics:
            self.lyrics_tokens = LyricsTokens(nodes.shape[1], width)
        if config.contrastive:
            self.project_audio = nn.Linear(width, config.projection, bias=False)
            self.project_lyrics = nn.Linear(width, config.projection, bias=False)
        if config.cross_attention:
            self.audio_attends, self.lyrics_attends = (
                nn.ModuleList(
                    CrossAttention(width, config.heads, config.dropout, config.attention_hidden)
                    for _ in range(config.attention_layers)
                )
                for _ in range(2)
            )
        self.dropout = nn.Dropout(config.dropout)
        pooled = (4 if config.lyrics else 2) * width
        if config.fusion_layers == 2:
            self.hidden = nn.Linear(pooled, width)
        self.fuse = nn.Linear(pooled if config.fusion_layers == 1 else width, width)
        self.genre_vectors = (
            GenreGraph(nodes, correlation, config) if config.genre_graph else FreeVectors(len(nodes), width)
        )

    def pretrained_encoders(self) -> Sequence[nn.Module]:
        """Return the lyrics encoder and, if one is configured, the pre-trained audio encoder."""
        audio = self.audio_encoder
        return (self.lyrics_encoder, *([audio.encoder] if isinstance(audio, PretrainedEncoder) else []))

    def _frozen_encoders(self) -> list[nn.Module]:
        frozen = (self.config.lyrics_frozen, self.config.audio_frozen)
        encoders = zip(self.pretrained_encoders(), frozen, strict=False)
        return [encoder for encoder, is_frozen in encoders if is_frozen]

    def train(self, mode: bool = True) -> "Network":
        """Set training mode, except for frozen encoders: they stay in evaluation mode, without dropout."""
        super().train(mode)
        for encoder in self._frozen_encoders():
            encoder.eval()
        return self

    def forward(self, waveform: Tensor, lyrics_ids: Tensor, lyrics_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, G) and embedding (B, W) of windows (B, S) and token ids and mask (B, T).

        These are the inputs and outputs of the exported graph.
        """
        hidden = self.encode_lyrics(lyrics_ids, lyrics_mask)
        output = self.classify(self.frontend(waveform), hidden, lyrics_mask, self.genre_vectors())
        return output.logits, output.embedding

    def hidden_states(self, lyrics: Tensor, mask: Tensor) -> Tensor:
        """Return the hidden states of E_l (B, T, H).

        `lyrics` are token ids (B, T) or, if E_l is frozen, its precomputed hidden states (B, T, H).
        """
        return self.encode_lyrics(lyrics, mask.long()) if lyrics.ndim == 2 else lyrics

    def encode_lyrics(self, lyrics_ids: Tensor, lyrics_mask: Tensor) -> Tensor:
        """Return the hidden states of E_l (B, T, H) for token ids and mask (B, T).

        Rows without lyrics contain finite values without meaning.
        """
        # Attention over an empty set is undefined, so the first position of every row is unmasked.
        first = (torch.arange(lyrics_mask.shape[1], device=lyrics_mask.device) == 0).to(lyrics_mask.dtype)
        mask = torch.maximum(lyrics_mask, first)
        hidden: Tensor = self.lyrics_encoder(input_ids=lyrics_ids, attention_mask=mask).last_hidden_state
        return hidden

    def classify(
        self,
        log_mel: Tensor,
        hidden: Tensor,
        mask: Tensor,
        genre_vectors: Tensor,
        lyrics_dropped: Tensor | None = None,
    ) -> Output:
        """Return the outputs for log-mels (B, mels, frames) and hidden states of E_l (B, T, H).

        `mask` (B, T) is true at lyrics tokens. `genre_vectors` is (G, W). `lyrics_dropped` (B,) is true for
        tracks that are classified as if they had no lyrics; the contrastive loss still uses their lyrics.
        """
        audio = self.audio_encoder(log_mel)
        audio_embedding = lyrics_embedding = None
        if self.config.contrastive:
            tokens, present = self.lyrics_tokens(hidden, mask)
            # Unit vectors, as in CLIP.
            audio_embedding = F.normalize(self.project_audio(audio.mean(1)), dim=-1)
            lyrics_embedding = F.normalize(self.project_lyrics(masked_mean(tokens, present)), dim=-1)
        if lyrics_dropped is not None:
            mask = mask * ~lyrics_dropped[:, None]
        pooled = self.dropout(self._pool_tokens(audio, hidden, mask))
        if self.config.fusion_layers == 2:
            pooled = self.hidden(pooled).relu()
        fused = self.fuse(pooled)
        return Output(fused @ genre_vectors.T, fused, audio_embedding, lyrics_embedding)

    def _pool_tokens(self, audio: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the mean and the maximum over tokens of each modality: (B, 4·W), or (B, 2·W) without lyrics.

        The paper flattens the tokens, whose number it fixes. Mean and maximum work for any number.
        """
        if not self.config.lyrics:
            return torch.cat([audio.mean(1), audio.amax(1)], dim=-1)
        lyrics, present = self.lyrics_tokens(hidden, mask)
        if self.config.cross_attention:
            for audio_layer, lyrics_layer in zip(self.audio_attends, self.lyrics_attends, strict=True):
                # Both attend to the other's tokens from before this layer.
                audio, lyrics = audio_layer(audio, lyrics, present), lyrics_layer(lyrics, audio)
        maximum = lyrics.masked_fill(~present[:, :, None], -torch.inf).amax(1)
        return torch.cat([audio.mean(1), audio.amax(1), masked_mean(lyrics, present), maximum], dim=-1)

    def similarity(self, audio_embedding: Tensor, lyrics_embedding: Tensor) -> Tensor:
        """Return g_a(E_a)_i · g_l(E_l)_j / τ (B, B) of audio i and lyrics j, both as in `Output`."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE) * (audio_embedding @ lyrics_embedding.T)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (B, W) of x (B, N, W) over positions where `mask` (B, N) is true.

    Each row of `mask` must have a true element.
    """
    weights = mask.to(x.dtype)
    return (weights[:, None, :] @ x).squeeze(1) / weights.sum(1, keepdim=True)
