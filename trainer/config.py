"""Every choice of a training run. Each field says whether the paper states it or why it was chosen."""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.bundle import AudioInput, LyricsFilter
from schemas.errors import ConfigError

PresetName = Literal["paper", "small", "ablation"]
Count = Annotated[int, Field(gt=0)]
Language = Annotated[str, Field(pattern="^[a-z]{2,3}$")]
"""A primary subtag of BCP 47."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LittleBert(_Part):
    """A tokenizer and a BERT of one's own, trained by masked words on the training split's lyrics."""

    vocabulary: Count = Field(
        4000, description="Chosen, because the lyrics of a few thousand tracks have few more words."
    )
    layers: Count = Field(2, description="Chosen, because it trains on a CPU within a minute.")
    width: Count = Field(128, description="Chosen with `layers`; BERT-Tiny has the same.")
    heads: Count = Field(2, description="Chosen with `layers`; BERT-Tiny has the same.")
    steps: Count = Field(
        300, description="Chosen, because the loss is flat afterwards. Batches of 32 lyrics."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Chosen, as is usual for a network of this size.")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError("width must be a multiple of heads")
        return self


def fourier_factors(n_fft: int) -> tuple[int, int]:
    """Return a, a power of two, and b, both near √n_fft.

    a · b = n_fft if the transform can be computed in two steps, as `trainer.network.frontend` does.
    """
    a = 2 ** math.ceil(math.log2(n_fft) / 2)
    return a, n_fft // a


class NetworkConfig(_Part):
    """The network, and what it hears and reads. Defaults are the `paper` preset.

    What the paper leaves open and is no field is chosen once, where it stands in `trainer.network.network`:
    maximum pooling and batch normalisation of the blocks and of the bands they hear, attention around
    normalised inputs with a residual, unit vectors in the contrastive loss, mean and maximum over tokens
    in place of flattening (tracks differ in length), rectifiers and row sums of 1 in the
    graph, whose nodes are centred.
    """

    audio: AudioInput = Field(
        AudioInput(sample_rate=22_050, window_seconds=30, windows=3, picking="spread"),
        description="Stated: 22 050 Hz, crops of 30 s. Chosen: three crops, because a platform's tracks are "
        "longer than the paper's 30 s clips; such a clip gets one.",
    )
    n_fft: Count = Field(2048, description="Chosen, because it is the usual partner of the stated hop.")
    hop: Count = Field(512, description="Stated.")
    mels: Count = Field(128, description="Stated.")
    log_gain: float = Field(
        10_000.0,
        gt=0,
        description="Chosen: the power is scaled as log10(1 + gain · mel), as Musicnn does: silence is zero, "
        "and there is no floor to tune.",
    )
    channels: tuple[Count, Count, Count, Count, Count] = Field(
        (64, 128, 128, 256, 256), description="Stated: five blocks. Chosen: widths, as in VGG-like taggers."
    )
    time_pooling: tuple[Count, Count, Count, Count, Count] = Field(
        (4, 2, 2, 2, 2),
        description="Chosen, because it leaves an audio token every 1.5 s. Bands are halved by each block.",
    )
    lyrics_model: str | LittleBert = Field(
        "bert-base-uncased",
        description="Stated: a pre-trained BERT, frozen. Chosen: which one. A hub name or a folder of any "
        "transformers encoder with a fast tokenizer.",
    )
    lyrics_frozen: bool = Field(
        True, description="Stated. Else the lyrics encoder is fine-tuned, at `fit.encoder_learning_rate`."
    )
    audio_model: str | None = Field(
        None,
        description="Stated: the five blocks. Else a hub name or a folder of any transformers audio encoder "
        "with an AST, Wav2Vec2 or Whisper feature extractor, which hears in their place and in the "
        "log-mels', and learns at `fit.encoder_learning_rate`.",
    )
    audio_frozen: bool = Field(
        False,
        description="Stated: the audio encoder learns. An `audio_model` need not. It hears anew in each "
        "epoch all the same: what it makes of a window is several times as large as the window.",
    )
    max_tokens: Count = Field(256, description="Chosen, because it holds the verses of most songs.")
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] | None = Field(
        None,
        description="Stated: English. Chosen: all, since what is read is the catalog's choice. Else language "
        'codes, e.g. ["en"]: lyrics known to be in another are not read, in training and when served.',
    )
    width: Count = Field(256, description="Chosen: tokens and the fused vector share it.")
    projection: Count = Field(128, description="Stated: low-dimensional. Chosen: half the width.")
    temperature: float = Field(0.07, gt=0, description="Stated: adaptive. Chosen: CLIP's initial value.")
    heads: Count = Field(4, description="Chosen, because 64 dimensions a head are usual.")
    attention_layers: Count = Field(
        1, description="Stated: two symmetric attentions. Chosen: one such pair; more are stacked."
    )
    attention_hidden: int = Field(
        0,
        ge=0,
        description="Chosen: none, since the paper writes none. Else the width of a hidden layer behind each "
        "attention, as in a Transformer's block (Vaswani et al., 2017): what a word tells under a sound is "
        "no sum of the two.",
    )
    graph_layers: Count = Field(
        2, description="Chosen, as Kipf & Welling (2017): graph convolutions from names to genre vectors."
    )
    graph_width: Count = Field(
        1024,
        description="Chosen, as ML-GCN (Chen et al., 2019): width between the graph convolutions. Names "
        "differ little from each other; through a wide layer they are told apart sooner.",
    )
    self_loop: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Chosen, because cosines make the graph dense: with less of itself a genre's vector "
        "becomes its neighbours' mean.",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Chosen, as is usual before a classifier.")
    lyrics: bool = Field(
        True, description="Stated. Without them the network only hears: Santana et al. (2020), a baseline."
    )
    contrastive: bool = Field(True, description="Stated: the audio-lyrics contrastive loss.")
    cross_attention: bool = Field(
        True, description="Stated: SCMA. Without it both encoders' outputs are pooled and concatenated."
    )
    genre_graph: bool = Field(
        True, description="Stated: GCEM. Without it the genre vectors are free weights."
    )
    fusion_layers: Literal[1, 2] = Field(
        1,
        description="Stated: one layer from both modalities to the fused vector. Two have a ReLU between, as "
        "in the late fusion of Pandeya & Lee (2021): what only both together tell is no sum of the two.",
    )

    @property
    def lyrics_filter(self) -> LyricsFilter:
        """Which lyrics the network reads, in training and when it is served."""
        return LyricsFilter(languages=self.languages if self.lyrics else ())

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.n_fft % self.hop:
            raise ValueError("n_fft must be a multiple of hop")
        a, b = fourier_factors(self.n_fft)
        if self.audio_model is None and (a < 2 or a * b != self.n_fft or self.hop % b):
            raise ValueError("n_fft and hop must be powers of two, hop at least √n_fft: e.g. 2048 and 512")
        frames = 1 + self.audio.window_samples // self.hop
        if self.audio_model is None and frames < math.prod(self.time_pooling):
            raise ValueError(
                f"time_pooling leaves nothing of the {frames} frames of a window: lower it, or hear longer"
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
            raise ValueError("without lyrics, nothing fine-tunes their encoder: leave lyrics_frozen on")
        if self.audio_frozen and self.audio_model is None:
            raise ValueError("audio_frozen is for an audio_model: the five blocks know nothing yet")
        return self


class FitConfig(_Part):
    """How the network is trained. Defaults are the `paper` preset."""

    epochs: Count = Field(100, description="Chosen, because the stated rate has halved once by then.")
    batch: Annotated[int, Field(gt=1)] = Field(16, description="Stated.")
    learning_rate: float = Field(1e-4, gt=0, description="Stated.")
    encoder_learning_rate: float = Field(
        2e-5, gt=0, description="Chosen: BERT's own for fine-tuning. Of pre-trained encoders not frozen."
    )
    halve_every: Count = Field(50, description="Stated: the learning rate is halved every 50 epochs.")
    weight_decay: float = Field(1e-2, ge=0, description="Chosen: the default of AdamW, itself chosen.")
    contrastive_weight: float = Field(
        0.3, ge=0, lt=1, description="Stated: λ. At 1 nothing learns the genres, so it is refused."
    )
    lyrics_dropout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Chosen: off. The share of tracks whose lyrics are withheld in a step: a network that "
        "always read lyrics fails on tracks without.",
    )
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Chosen: for each genre the one with the best F1 on validation, in the mean over "
        "resamples. Else one for all genres.",
    )
    positive_focus: float = Field(
        0.0, ge=0, description="Chosen: off. γ₊ of the asymmetric loss (Ridnik et al., 2021)."
    )
    negative_focus: float = Field(
        0.0,
        ge=0,
        description="Chosen: off. γ₋ of the asymmetric loss: above γ₊ it makes less of the many tracks that "
        "lack a rare genre; its authors take 4.",
    )
    negative_margin: float = Field(
        0.0, ge=0, lt=1, description="Chosen: off. Probability that a missing genre may have for nothing."
    )
    masked_bands: int = Field(
        0, ge=0, description="Chosen: off. SpecAugment (Park et al., 2019): mel bands silenced at most."
    )
    masked_frames: int = Field(0, ge=0, description="Chosen: off. SpecAugment: frames silenced at most.")
    mixup: float = Field(
        0.0, ge=0, description="Chosen: off. α of mixup (Zhang et al., 2018); its authors take 0.1 to 0.4."
    )
    patience: Count | None = Field(
        None,
        description="Chosen: all epochs are trained. Else training stops after so many epochs without a "
        "better validation mAP.",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="Chosen, because a CPU gains nothing by less. On a GPU take bf16-mixed."
    )
    devices: Count | Literal["auto"] = Field(
        "auto",
        description="Chosen: all GPUs of a machine, or one process on the CPU. Several devices have a batch "
        "each, and the contrastive loss compares all of them.",
    )
    nodes: Count = Field(1, description="Chosen. Machines that train together, each with `devices`.")
    gradient_clip: float = Field(1.0, gt=0, description="Chosen, because a learned temperature can jump.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Chosen. The same seed on the same machine gives the same weights."
    )


class TrainingConfig(_Part):
    """A whole run."""

    network: NetworkConfig = NetworkConfig()
    fit: FitConfig = FitConfig()

    @model_validator(mode="after")
    def _masks_what_is_there(self) -> Self:
        if self.network.audio_model and (self.fit.masked_bands or self.fit.masked_frames):
            raise ValueError("masked_bands and masked_frames need log-mels: an audio_model has its own")
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
"""`small` and `ablation` are chosen throughout: with `small`, some thousand ten-second clips train in minutes
on two CPU cores; `ablation` is smaller still, since an ablation trains dozens of networks."""


def preset(name: PresetName, overrides: Iterable[str] = ()) -> TrainingConfig:
    """A preset with `key=value` settings on top, e.g. `fit.epochs=3` or `network.heads=2`.

    A value is JSON, or else a string. Raises ConfigError.
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
            raise ConfigError(f"--set {override}: no setting {key}; there are {', '.join(_keys(raw))}")
        part[leaf] = _value(text)
    try:
        return TrainingConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"setting {where}: {first['msg']}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _keys(raw: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, value in raw.items():
        keys += _keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return keys
