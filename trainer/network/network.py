"""The network of Ru et al. (ICASSP 2023, arXiv 2303.07667), whole.

```
waveform ─► log-mel ─► E_a ─► audio tokens ──┬─► attend to lyrics ─► pool ─┐
                                       g_a·g_l: L_AL                       ⊕─► FC ─► fused ─┐
lyrics ──────────────► E_l ─► lyrics tokens ─┴─► attend to audio ──► pool ─┘                · ─► logits
genre names ─────────► E_l ─► nodes ─────────► GCN over A ─────────► genre vectors ─────────┘
```
B = batch, S = samples, T = lyrics tokens, P = audio tokens, W = width, G = genres, H = E_l's width.
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
"""CLIP's bound on 1/τ: beyond it training becomes unstable."""


class AudioEncoder(nn.Module):
    """E_a: log-mels (B, mels, frames) to audio tokens (B, P, W) by five convolutional blocks."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        # Scales each band by what training hears in it.
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
    """E_l's hidden states (B, T, H) and mask (B, T) to lyrics tokens (B, 1 + T, W) and their mask.

    The token in front is a learned one that stands for missing lyrics: it counts where no other does, so
    that no row of the mask is empty and padding never changes a result.
    """

    def __init__(self, lyrics_width: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(lyrics_width, width)
        self.missing = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        present = mask.bool()
        missing = ~present.any(dim=1, keepdim=True)
        tokens = self.project(hidden)
        first = self.missing.expand(tokens.shape[0], 1, -1)
        return torch.cat([first, tokens], dim=1), torch.cat([missing, present], dim=1)


class CrossAttention(nn.Module):
    """One half of SCMA: softmax(Q_α K_βᵀ / √d) V_β, with a residual around normalised inputs.

    Normalised behind the residual instead, it learned far less from the lyrics. Where `hidden` is not 0, a
    layer of that width follows, with a residual around it too.
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
        """x (B, N, W) attends to `other` (B, M, W) where `other_mask` (B, M) is true."""
        q = self._split(self.query(self.norm(x)))
        k, v = (self._split(part) for part in self.key_value(self.other_norm(other)).chunk(2, dim=-1))
        mask = None if other_mask is None else other_mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        joined = attended.transpose(1, 2).flatten(2)
        result: Tensor = x + self.dropout(self.out(joined))
        return result if self.hidden is None else result + self.hidden(result)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)


class GenreGraph(nn.Module):
    """GCEM: genre vectors (G, W), graph convolutions σ(Â X W) over the genre names' embeddings.

    Its weights are of unit scale, and what they multiply is scaled down instead, so that the vectors begin as
    long as free ones. Adam's steps are all of one size: through weights of the usual scale they would move a
    vector many times as fast as free ones move, and training would lag behind that without GCEM.
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
    """Genre vectors (G, W) that know nothing of each other: what GCEM is compared with."""

    def __init__(self, genres: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(genres, width) / math.sqrt(width))

    def forward(self) -> Tensor:
        return self.vectors


class Output(NamedTuple):
    logits: Tensor
    """(B, G), before the sigmoid."""
    embedding: Tensor
    """(B, W), the fused vector."""
    heard: Tensor | None
    """(B, projection), g_a(E_a) as unit vectors; None where nothing is contrasted."""
    read: Tensor | None
    """(B, projection), g_l(E_l) as unit vectors; None where nothing is contrasted."""


class Network(nn.Module):
    """The whole network. `nodes` (G, H), `correlation` (G, G) and encoders that are frozen never change.

    `audio_model` is the one that is configured.
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
        for encoder in self._frozen():
            encoder.requires_grad_(False).eval()
        # The temperature is adaptive where there is something to contrast.
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

    def pretrained(self) -> Sequence[nn.Module]:
        """The encoders that come trained."""
        heard = self.audio_encoder
        return (self.lyrics_encoder, *([heard.encoder] if isinstance(heard, PretrainedEncoder) else []))

    def _frozen(self) -> list[nn.Module]:
        frozen = (self.config.lyrics_frozen, self.config.audio_frozen)
        return [encoder for encoder, still in zip(self.pretrained(), frozen, strict=False) if still]

    def train(self, mode: bool = True) -> "Network":
        super().train(mode)
        for encoder in self._frozen():
            encoder.eval()
        return self

    def forward(self, waveform: Tensor, lyrics_ids: Tensor, lyrics_mask: Tensor) -> tuple[Tensor, Tensor]:
        """What is served: logits (B, G) and embedding (B, W) of windows (B, S) and token ids (B, T)."""
        hidden = self.read(lyrics_ids, lyrics_mask)
        output = self.classify(self.frontend(waveform), hidden, lyrics_mask, self.genre_vectors())
        return output.logits, output.embedding

    def hidden_states(self, lyrics: Tensor, mask: Tensor) -> Tensor:
        """E_l's hidden states (B, T, H): of token ids (B, T), or computed already where E_l is frozen."""
        return self.read(lyrics, mask.long()) if lyrics.ndim == 2 else lyrics

    def read(self, lyrics_ids: Tensor, lyrics_mask: Tensor) -> Tensor:
        """E_l's hidden states (B, T, H). Rows without lyrics hold anything finite."""
        # An attention over nothing is undefined: such a row attends to its first position.
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
        withheld: Tensor | None = None,
    ) -> Output:
        """From what the frontend and E_l give: log-mels (B, mels, frames) and hidden states (B, T, H).

        `withheld` (B,) hides the lyrics of some tracks from the classifier, not from the contrastive loss.
        """
        audio = self.audio_encoder(log_mel)
        heard = read = None
        if self.config.contrastive:
            tokens, present = self.lyrics_tokens(hidden, mask)
            # Unit vectors, as in CLIP.
            heard = F.normalize(self.project_audio(audio.mean(1)), dim=-1)
            read = F.normalize(self.project_lyrics(masked_mean(tokens, present)), dim=-1)
        if withheld is not None:
            mask = mask * ~withheld[:, None]
        pooled = self.dropout(self._pooled(audio, hidden, mask))
        if self.config.fusion_layers == 2:
            pooled = self.hidden(pooled).relu()
        fused = self.fuse(pooled)
        return Output(fused @ genre_vectors.T, fused, heard, read)

    def _pooled(self, audio: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B, 4·W), or (B, 2·W) without lyrics: of each modality its mean and its maximum over tokens.

        Flattened in the paper, where lengths are fixed; the mean and the maximum take any length.
        """
        if not self.config.lyrics:
            return torch.cat([audio.mean(1), audio.amax(1)], dim=-1)
        lyrics, present = self.lyrics_tokens(hidden, mask)
        if self.config.cross_attention:
            for hears, reads in zip(self.audio_attends, self.lyrics_attends, strict=True):
                audio, lyrics = hears(audio, lyrics, present), reads(lyrics, audio)
        maximum = lyrics.masked_fill(~present[:, :, None], -torch.inf).amax(1)
        return torch.cat([audio.mean(1), audio.amax(1), masked_mean(lyrics, present), maximum], dim=-1)

    def similarity(self, heard: Tensor, read: Tensor) -> Tensor:
        """g_a(E_a) · g_l(E_l) / τ of every audio with every lyrics, both as in `Output`."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE) * (heard @ read.T)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x (B, N, W) over the positions where `mask` (B, N) is true; each row has one."""
    weights = mask.to(x.dtype)
    return (weights[:, None, :] @ x).squeeze(1) / weights.sum(1, keepdim=True)
