"""Settings of a training run, and the presets.

Each description gives the meaning and the unit, then "Stated" if the paper (Ru et al., ICASSP 2023) states
the default, or "Chosen" with the reason if it does not.
"""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.bundle import AudioInput, LyricsFilter
from schemas.errors import ConfigError

PresetName = Literal["paper", "small", "ablation"]
Count = Annotated[int, Field(gt=0)]
"""A positive integer."""
Language = Annotated[str, Field(pattern="^[a-z]{2,3}$")]
"""Primary language subtag of BCP 47, such as `en`."""


class _Settings(BaseModel):
    """Base of the settings: unknown names are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LittleBert(_Settings):
    """A WordPiece tokenizer and a small BERT, trained by masked words on the lyrics of the training split."""

    vocabulary: Count = Field(
        4000,
        description="Maximum number of WordPiece tokens. Chosen: the lyrics of a few thousand tracks have "
        "few more distinct words.",
    )
    layers: Count = Field(
        2, description="Number of Transformer layers. Chosen: trains on a CPU within a minute."
    )
    width: Count = Field(128, description="Hidden size. Chosen: as in BERT-Tiny.")
    heads: Count = Field(2, description="Attention heads a layer. Chosen: as in BERT-Tiny.")
    steps: Count = Field(
        300,
        description="Training steps, each on a batch of 32 lyrics. Chosen: the loss does not fall further.",
    )
    learning_rate: float = Field(
        1e-3, gt=0, description="Learning rate of AdamW. Chosen: usual for a network of this size."
    )

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError("width must be a multiple of heads")
        return self


def fourier_factors(n_fft: int) -> tuple[int, int]:
    """Return a, a power of two, and b = n_fft // a, both near √n_fft.

    If a · b = n_fft, `trainer.network.frontend` can compute the Fourier transform in two steps.
    """
    a = 2 ** math.ceil(math.log2(n_fft) / 2)
    return a, n_fft // a


class NetworkConfig(_Settings):
    """The network and its inputs. Defaults are the preset `paper`.

    Choices that the paper leaves open and that are not settings are made in `trainer.network.network`:
    maximum pooling and batch normalisation of the convolutional blocks, batch normalisation of the mel bands,
    pre-norm attention with a residual, unit vectors in the contrastive loss, mean and maximum over tokens
    instead of flattening (tracks differ in length), ReLU and rows that sum to 1 in the genre graph, and
    centred graph nodes.
    """

    audio: AudioInput = Field(
        AudioInput(sample_rate=22_050, window_seconds=30, windows=3, picking="spread"),
        description="Sample rate in Hz, window length in seconds, number of windows of a track, and how they "
        "are placed. Stated: 22,050 Hz, windows of 30 s. Chosen: three windows, because tracks of a platform "
        "are longer than the paper's 30 s clips. A 30 s clip has one window.",
    )
    n_fft: Count = Field(
        2048, description="Frame length of the spectrogram, in samples. Chosen: usual with a hop of 512."
    )
    hop: Count = Field(512, description="Samples between two frames of the spectrogram. Stated.")
    mels: Count = Field(128, description="Number of mel bands. Stated.")
    log_gain: float = Field(
        10_000.0,
        gt=0,
        description="Factor g of the log-mel spectrogram log10(1 + g · power). Chosen: as in musicnn. "
        "Silence is 0, and there is no lower bound to tune.",
    )
    channels: tuple[Count, Count, Count, Count, Count] = Field(
        (64, 128, 128, 256, 256),
        description="Output channels of the five convolutional blocks. Stated: five blocks. Chosen: the "
        "numbers, as in VGG-like music taggers.",
    )
    time_pooling: tuple[Count, Count, Count, Count, Count] = Field(
        (4, 2, 2, 2, 2),
        description="Factor by which each block shortens the time axis; each halves the mel bands. Chosen: "
        "gives an audio token every 1.5 s.",
    )
    lyrics_model: str | LittleBert = Field(
        "bert-base-uncased",
        description="Lyrics encoder: a hub name or a folder of any transformers encoder with a fast "
        "tokenizer, or the settings of a small BERT to train first. Stated: a pre-trained BERT. Chosen: "
        "which one.",
    )
    lyrics_frozen: bool = Field(
        True,
        description="Whether the lyrics encoder is not trained; if false, it is fine-tuned at "
        "`fit.encoder_learning_rate`. Stated.",
    )
    audio_model: str | None = Field(
        None,
        description="Pre-trained audio encoder that replaces the log-mels and the five blocks: a hub name or "
        "a folder of any transformers audio encoder with an AST, Wav2Vec2 or Whisper feature extractor, "
        "trained at `fit.encoder_learning_rate`. None: the five blocks. Stated.",
    )
    audio_frozen: bool = Field(
        False,
        description="Whether the `audio_model` is not trained. Its outputs are not cached and are computed "
        "in every epoch, because they are several times as large as the audio. Stated: the audio encoder is "
        "trained.",
    )
    max_tokens: Count = Field(
        256,
        description="Maximum number of lyrics tokens; further tokens are dropped. Chosen: enough for the "
        "verses of most songs.",
    )
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] | None = Field(
        None,
        description='Language codes of the lyrics to use, such as ["en"]. Lyrics known to be in another '
        "language are ignored in training and in the worker. None: all languages. Stated: English. Chosen: "
        "all, because catalogs differ.",
    )
    width: Count = Field(256, description="Size of a token and of the fused vector. Chosen.")
    projection: Count = Field(
        128,
        description="Size of the vectors that the contrastive loss compares. Stated: low-dimensional. "
        "Chosen: half of `width`.",
    )
    temperature: float = Field(
        0.07,
        gt=0,
        description="Initial temperature τ of the contrastive loss. Stated: τ is learned. Chosen: the "
        "initial value of CLIP.",
    )
    heads: Count = Field(4, description="Heads of each attention. Chosen: 64 dimensions a head are usual.")
    attention_layers: Count = Field(
        1,
        description="Number of stacked pairs of attentions. Stated: two symmetric attentions. Chosen: one "
        "pair.",
    )
    attention_hidden: int = Field(
        0,
        ge=0,
        description="Width of a feed-forward layer after each attention, as in a Transformer block (Vaswani "
        "et al., 2017); 0: none. It lets the network combine audio and lyrics other than by a sum. Chosen: "
        "none, because the paper describes none.",
    )
    graph_layers: Count = Field(
        2,
        description="Number of graph convolutions from genre names to genre vectors. Chosen: as in Kipf and "
        "Welling (2017).",
    )
    graph_width: Count = Field(
        1024,
        description="Width between the graph convolutions. Chosen: as in ML-GCN (Chen et al., 2019). The "
        "embeddings of genre names are similar, and a wide layer separates them in fewer steps.",
    )
    self_loop: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of a genre's own vector in a graph convolution; its neighbours share the rest. "
        "Chosen: the cosines make the graph dense, so that with a lower share every genre becomes the mean "
        "of its neighbours.",
    )
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Dropout probability after the attentions and before the fusion. Chosen: usual before a "
        "classifier.",
    )
    lyrics: bool = Field(
        True,
        description="Whether lyrics are used. False is the audio-only baseline of Santana et al. (2020). "
        "Stated.",
    )
    contrastive: bool = Field(
        True, description="Whether the audio-lyrics contrastive loss L_AL is used. Stated."
    )
    cross_attention: bool = Field(
        True,
        description="Whether SCMA (symmetric cross-modal attention) is used; if false, the outputs of both "
        "encoders are pooled and concatenated. Stated.",
    )
    genre_graph: bool = Field(
        True,
        description="Whether GCEM (the graph convolution over genre correlations) makes the genre vectors; "
        "if false, they are independent weights. Stated.",
    )
    fusion_layers: Literal[1, 2] = Field(
        1,
        description="Layers from both modalities to the fused vector. With 2, a ReLU is between them, as in "
        "the late fusion of Pandeya and Lee (2021), and audio and lyrics can be combined other than by a "
        "sum. Stated: one layer.",
    )

    @property
    def lyrics_filter(self) -> LyricsFilter:
        """Which lyrics the network uses, in training and in the worker."""
        return LyricsFilter(languages=self.languages if self.lyrics else ())

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.n_fft % self.hop:
            raise ValueError("n_fft must be a multiple of hop")
        a, b = fourier_factors(self.n_fft)
        if self.audio_model is None and (a < 2 or a * b != self.n_fft or self.hop % b):
            raise ValueError("n_fft and hop must be powers of two, hop at least √n_fft: e.g. 2048 and 512")
        frames = 1 + self.audio.window_samples // self.hop
        if self.audio_model is None and frames < math.prod(self.time_pooling):
            raise ValueError(
                f"time_pooling leaves nothing of the {frames} frames of a window: lower it, or raise "
                "audio.window_seconds"
            )
        if self.mels % 2 ** len(self.channels):
            raise ValueError(
                f"mels must be a multiple of {2 ** len(self.channels)}: each block halves the bands"
            )
        if self.width % self.heads:
            raise ValueError("width must be a multiple of heads")
        if not self.lyrics and (self.contrastive or self.cross_attention):
            raise ValueError("without lyrics, set contrastive and cross_attention to false too")
        if not (self.lyrics or self.lyrics_frozen):
            raise ValueError("without lyrics, their encoder cannot be fine-tuned: leave lyrics_frozen on")
        if self.audio_frozen and self.audio_model is None:
            raise ValueError("audio_frozen needs an audio_model: the five blocks are not pre-trained")
        return self


class FitConfig(_Settings):
    """How the network is trained. Defaults are the preset `paper`."""

    epochs: Count = Field(
        100,
        description="Maximum number of epochs. Chosen: the stated rate has been halved once by then.",
    )
    batch: Annotated[int, Field(gt=1)] = Field(16, description="Tracks a batch and device. Stated.")
    learning_rate: float = Field(1e-4, gt=0, description="Initial learning rate of AdamW. Stated.")
    encoder_learning_rate: float = Field(
        2e-5,
        gt=0,
        description="Initial learning rate of pre-trained encoders that are not frozen. Chosen: the rate at "
        "which BERT is fine-tuned.",
    )
    halve_every: Count = Field(
        50, description="Number of epochs after which the learning rates are halved, again and again. Stated."
    )
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay of AdamW. Chosen: its default.")
    contrastive_weight: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="λ in L = λ·L_AL + (1 − λ)·L_BCE. Below 1, because at 1 genres are not learned. Stated.",
    )
    lyrics_dropout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that a track is classified without its lyrics in a training step. For "
        "catalogs with tracks without lyrics, on which a network fails that always had lyrics in training. "
        "Chosen: off.",
    )
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Probability at which every genre is accepted. None: one threshold for each genre, the "
        "one with the best F1 on the validation split, averaged over resamples. Chosen.",
    )
    positive_focus: float = Field(
        0.0,
        ge=0,
        description="Exponent γ₊ of the asymmetric loss (Ridnik et al., 2021) for genres that a track has. "
        "Chosen: off.",
    )
    negative_focus: float = Field(
        0.0,
        ge=0,
        description="Exponent γ₋ of the asymmetric loss for genres that a track lacks. Above γ₊, it reduces "
        "the loss of the many tracks that lack a rare genre; its authors use 4. Chosen: off.",
    )
    negative_margin: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability margin m of the asymmetric loss: negatives with p below m contribute no "
        "loss. Chosen: off.",
    )
    masked_bands: int = Field(
        0,
        ge=0,
        description="Maximum number of adjacent mel bands set to zero in an example (SpecAugment, Park et "
        "al., 2019). Chosen: off.",
    )
    masked_frames: int = Field(
        0,
        ge=0,
        description="Maximum number of adjacent frames set to zero in an example (SpecAugment). Chosen: off.",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="Parameter α of mixup (Zhang et al., 2018); its authors use 0.1 to 0.4. Chosen: off.",
    )
    patience: Count | None = Field(
        None,
        description="Number of epochs without a better validation mAP after which training stops. None: "
        "training does not stop early. Chosen.",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true",
        description="Number format of training; use bf16-mixed on a GPU. Chosen: lower precision is not "
        "faster on a CPU.",
    )
    devices: Count | Literal["auto"] = Field(
        "auto",
        description="Number of GPUs or CPU processes of a machine; auto: all GPUs, or one CPU process. Each "
        "has a batch of its own, and the contrastive loss compares the tracks of all. Chosen.",
    )
    nodes: Count = Field(
        1, description="Number of machines that train together, each with `devices`. Chosen."
    )
    gradient_clip: float = Field(
        1.0,
        gt=0,
        description="Maximum norm of the gradient. Chosen: the learned temperature can change abruptly.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="Seed of all random numbers. On one machine, equal seeds give equal weights. Chosen.",
    )


class TrainingConfig(_Settings):
    """All settings of a run."""

    network: NetworkConfig = NetworkConfig()
    fit: FitConfig = FitConfig()

    @model_validator(mode="after")
    def _check_masks(self) -> Self:
        if self.network.audio_model and (self.fit.masked_bands or self.fit.masked_frames):
            raise ValueError(
                "masked_bands and masked_frames need log-mels: an audio_model has its own features"
            )
        return self


_PRESETS: dict[PresetName, TrainingConfig] = {
    "paper": TrainingConfig(),
    "small": TrainingConfig(
        network=NetworkConfig(
            audio=AudioInput(sample_rate=22_050, window_seconds=10, windows=3, picking="spread"),
            hop=1024,
            mels=64,
            channels=(8, 16, 32, 64, 128),
            time_pooling=(4, 2, 2, 1, 1),
            lyrics_model=LittleBert(),
            max_tokens=64,
            width=128,
            projection=64,
            heads=2,
            dropout=0.1,
            graph_width=512,
        ),
        fit=FitConfig(epochs=16, learning_rate=2e-3, halve_every=4, lyrics_dropout=0.25),
    ),
    "ablation": TrainingConfig(
        network=NetworkConfig(
            audio=AudioInput(sample_rate=22_050, window_seconds=5, windows=2, picking="spread"),
            hop=2048,
            mels=32,
            channels=(8, 16, 32, 64, 64),
            time_pooling=(4, 2, 2, 1, 1),
            lyrics_model=LittleBert(),
            max_tokens=48,
            width=64,
            projection=32,
            heads=2,
            attention_hidden=64,
            graph_width=256,
            fusion_layers=2,
            dropout=0.1,
        ),
        fit=FitConfig(epochs=36, learning_rate=2e-3, halve_every=18),
    ),
}
"""All values of `small` and `ablation` are chosen. With `small`, about a thousand clips of ten seconds train
in minutes on two CPU cores. `ablation` is smaller still, because an ablation trains dozens of networks."""


def preset(name: PresetName, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Return a preset with settings `key=value` changed, such as `fit.epochs=3` or `network.heads=2`.

    A value is JSON; one that is not valid JSON is a string. Raises ConfigError.
    """
    raw = _PRESETS[name].model_dump()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: write key=value, e.g. fit.epochs=3")
        *path, leaf = key.split(".")
        part: Any = raw
        for step in path:
            part = part.get(step) if isinstance(part, dict) else None
        if not isinstance(part, dict) or leaf not in part:
            names = ", ".join(_setting_names(raw))
            raise ConfigError(f"--set {override}: no setting {key}; the settings are {names}")
        part[leaf] = _parse_value(text)
    try:
        return TrainingConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"setting {where}: {first['msg']}") from error


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _setting_names(raw: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, value in raw.items():
        keys += _setting_names(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return keys
