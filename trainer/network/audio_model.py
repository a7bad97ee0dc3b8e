"""A pre-trained audio encoder, with its feature extractor, that replaces the log-mels and the five blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, FeatureExtractionMixin, PreTrainedModel

from schemas.bundle import AudioInput
from trainer.errors import AudioModelError
from trainer.network.feature_extractors import rebuild_extractor, window_seconds
from trainer.network.pretrained import explain_load_errors


@dataclass(frozen=True)
class AudioModel:
    """A transformers audio encoder and its feature extractor."""

    encoder: PreTrainedModel
    extractor: FeatureExtractionMixin

    def save(self, folder: Path) -> None:
        """Write the configurations of encoder and extractor to `folder`, without the weights."""
        self.encoder.config.save_pretrained(folder)
        self.extractor.save_pretrained(folder)


def load_audio_model(name: str, audio: AudioInput) -> AudioModel:
    """Return a transformers audio encoder, by hub name or folder.

    Raises AudioModelError if it cannot be loaded, or needs another sample rate or window than `audio` has.
    """
    advice = (
        "set network.audio_model to a hub name or to a folder that holds its config.json, weights and "
        "preprocessor_config.json"
    )
    with explain_load_errors(f"audio model {name}", advice, AudioModelError):
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
        extractor = AutoFeatureExtractor.from_pretrained(name)
    required = {
        "sample_rate": getattr(extractor, "sampling_rate", None),
        "window_seconds": window_seconds(extractor),
    }
    for setting, value in required.items():
        if value is not None and value != getattr(audio, setting):
            raise AudioModelError(
                f"audio model {name} needs another input: set network.audio.{setting}={value:g}"
            )
    return AudioModel(_encoder(model), extractor)


def build_audio_model(folder: Path) -> AudioModel:
    """Return the model that `AudioModel.save` wrote to `folder`, with random weights to be replaced."""
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    return AudioModel(_encoder(model), AutoFeatureExtractor.from_pretrained(folder))


def _encoder(model: PreTrainedModel) -> PreTrainedModel:
    """Return the encoder of a model, changed so that every weight has a gradient in every training step.

    Distributed training waits for the gradients of all weights.
    """
    encoder: PreTrainedModel = model.get_encoder() if model.config.is_encoder_decoder else model
    for name, value in {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}.items():
        if hasattr(encoder.config, name):
            setattr(encoder.config, name, value)
    if isinstance(unused := getattr(encoder, "masked_spec_embed", None), nn.Parameter):
        unused.requires_grad_(False)
    return encoder


class ExtractedFeatures(nn.Module):
    """The model's own feature extractor: waveform (B, S) to the input of its encoder (B, …)."""

    def __init__(self, extractor: FeatureExtractionMixin) -> None:
        super().__init__()
        self.extract = rebuild_extractor(extractor)
        self.identity = extractor.to_json_string()

    def forward(self, waveform: Tensor) -> Tensor:
        # An attention mask, if there is one, is ignored: the padding of a short clip counts as silence.
        features: Mapping[str, Tensor] = self.extract(waveform)
        return next(iter(features.values()))


class PretrainedEncoder(nn.Module):
    """E_a: features of the extractor (B, …) to audio tokens (B, P, W)."""

    def __init__(self, encoder: PreTrainedModel, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(encoder.config.hidden_size, width)

    def forward(self, features: Tensor) -> Tensor:
        tokens: Tensor = self.project(self.encoder(features).last_hidden_state)
        return tokens
