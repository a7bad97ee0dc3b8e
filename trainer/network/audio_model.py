"""A pre-trained audio encoder in the place of the five blocks, with the feature extractor it hears by."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, FeatureExtractionMixin, PreTrainedModel

from schemas.bundle import AudioInput
from trainer.errors import AudioModelError
from trainer.network.feature_extractors import hears, rebuilt
from trainer.network.pretrained import loading


@dataclass(frozen=True)
class AudioModel:
    encoder: PreTrainedModel
    extractor: FeatureExtractionMixin

    def save(self, folder: Path) -> None:
        """All but the weights."""
        self.encoder.config.save_pretrained(folder)
        self.extractor.save_pretrained(folder)


def load_audio_model(name: str, audio: AudioInput) -> AudioModel:
    """Any transformers audio encoder, by hub name or folder. Raises AudioModelError."""
    advice = (
        "set network.audio_model to a hub name or to a folder that holds its config.json, weights and "
        "preprocessor_config.json"
    )
    with loading(f"audio model {name}", advice, AudioModelError):
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
        extractor = AutoFeatureExtractor.from_pretrained(name)
    wanted = {"sample_rate": getattr(extractor, "sampling_rate", None), "window_seconds": hears(extractor)}
    for setting, value in wanted.items():
        if value is not None and value != getattr(audio, setting):
            raise AudioModelError(
                f"audio model {name} hears otherwise: set network.audio.{setting}={value:g}"
            )
    return AudioModel(_encoder(model), extractor)


def described_audio_model(folder: Path) -> AudioModel:
    """As `AudioModel.save` wrote it, with weights that are still to be loaded."""
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    return AudioModel(_encoder(model), AutoFeatureExtractor.from_pretrained(folder))


def _encoder(model: PreTrainedModel) -> PreTrainedModel:
    """The half that hears, in which every weight takes part in every step: ranks wait for each other's."""
    encoder: PreTrainedModel = model.get_encoder() if model.config.is_encoder_decoder else model
    for name, value in {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}.items():
        if hasattr(encoder.config, name):
            setattr(encoder.config, name, value)
    if isinstance(unused := getattr(encoder, "masked_spec_embed", None), nn.Parameter):
        unused.requires_grad_(False)
    return encoder


class ExtractedFeatures(nn.Module):
    """The model's own feature extractor: waveform (B, S) to what it hears, (B, …)."""

    def __init__(self, extractor: FeatureExtractionMixin) -> None:
        super().__init__()
        self.extract = rebuilt(extractor)
        self.identity = extractor.to_json_string()

    def forward(self, waveform: Tensor) -> Tensor:
        # An attention mask, where there is one, is left: what pads a short clip is silence like any other.
        features: Mapping[str, Tensor] = self.extract(waveform)
        return next(iter(features.values()))


class PretrainedEncoder(nn.Module):
    """E_a: what the extractor gives to audio tokens (B, P, W)."""

    def __init__(self, encoder: PreTrainedModel, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(encoder.config.hidden_size, width)

    def forward(self, features: Tensor) -> Tensor:
        tokens: Tensor = self.project(self.encoder(features).last_hidden_state)
        return tokens
