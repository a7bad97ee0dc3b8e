"""The checkpoint to adopt: its network, its feature extractor, its labels, its licence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    FeatureExtractionMixin,
    PreTrainedModel,
)
from transformers.utils.hub import cached_file

from exporter.errors import AdoptError
from schemas.bundle import Weights
from trainer.network.pretrained import explain_load_errors

Activation = Literal["sigmoid", "softmax"]

NON_COMMERCIAL = re.compile(r"(^|[-_ ])(nc|non-?commercial|research)([-_ ]|$)", re.IGNORECASE)
COMMERCIAL = re.compile(r"^(apache-2\.0|mit|isc|unlicense|cc0-1\.0|bsd(-[23]-clause)?|cc-by(-sa)?-[34]\.0)$")
LICENCE_LINE = re.compile(r"^license:\s*(\S+)", re.MULTILINE)
"""In the metadata at the top of a model card, which stands between lines of `---`."""


@dataclass(frozen=True)
class Source:
    """A loaded checkpoint, in evaluation mode."""

    model: PreTrainedModel
    extractor: FeatureExtractionMixin
    labels: tuple[str, ...]
    """In the order of its logits."""
    activation: Activation
    """From its logits to its probabilities."""
    weights: Weights

    @property
    def sample_rate(self) -> int:
        return int(getattr(self.extractor, "sampling_rate"))  # noqa: B009 - not every extractor declares one

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)


def load_source(checkpoint: str, activation: Activation | None, licence: str | None) -> Source:
    """A hub name or a folder. `activation` and `licence` go before what the checkpoint says of itself.

    Raises AdoptError.
    """
    advice = (
        "give a hub name or a folder with a transformers audio classifier and its preprocessor_config.json"
    )
    with explain_load_errors(f"checkpoint {checkpoint}", advice, AdoptError):
        model, report = AutoModelForAudioClassification.from_pretrained(
            checkpoint, dtype=torch.float32, output_loading_info=True
        )
        extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    if report["missing_keys"]:
        raise AdoptError(
            f"checkpoint {checkpoint} lacks {min(report['missing_keys'])}: it was not trained to "
            "classify audio; give one that was"
        )
    named = dict(model.config.id2label or {})
    return Source(
        model=model.eval(),
        extractor=extractor,
        labels=tuple(named[column] for column in sorted(named)),
        activation=activation or _activation(model.config.problem_type),
        weights=_weights(checkpoint, licence or _licence(checkpoint)),
    )


def _activation(problem: str | None) -> Activation:
    """As transformers' own pipeline chooses."""
    return "sigmoid" if problem == "multi_label_classification" else "softmax"


def _licence(checkpoint: str) -> str | None:
    """As the model card's metadata names it; None where it says nothing."""
    file = cached_file(
        checkpoint,
        "README.md",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    text = Path(file).read_text(encoding="utf-8", errors="replace") if file else ""
    if not text.startswith("---"):
        return None
    found = LICENCE_LINE.search(text.split("---", 2)[1])
    return found[1].strip("\"'") if found else None


def _weights(checkpoint: str, licence: str | None) -> Weights:
    allowed = None
    if licence and NON_COMMERCIAL.search(licence):
        allowed = False
    elif licence and COMMERCIAL.search(licence.lower()):
        allowed = True
    folder = Path(checkpoint)
    # A path of this machine means nothing elsewhere.
    name = folder.resolve().name if folder.is_dir() else checkpoint
    return Weights(source=name, licence=licence, commercial_use=allowed)
