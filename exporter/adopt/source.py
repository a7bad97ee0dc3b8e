"""Loads the checkpoint to adopt: its network, feature extractor, labels and licence."""

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
"""The licence in the metadata of a model card, which is at the top between lines of `---`."""


@dataclass(frozen=True)
class Source:
    """A loaded checkpoint, in evaluation mode."""

    model: PreTrainedModel
    extractor: FeatureExtractionMixin
    labels: tuple[str, ...]
    """In the order of the logits."""
    activation: Activation
    """Turns logits into probabilities."""
    weights: Weights

    @property
    def sample_rate(self) -> int:
        return int(getattr(self.extractor, "sampling_rate"))  # noqa: B009 - not every extractor declares one

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)


def load_source(checkpoint: str, activation: Activation | None, licence: str | None) -> Source:
    """Load a hub name or a folder. `activation` and `licence` override the checkpoint's own.

    Raises AdoptError.
    """
    advice = (
        "give a hub name, or a folder with a transformers audio classifier and its preprocessor_config.json"
    )
    with explain_load_errors(f"checkpoint {checkpoint}", advice, AdoptError):
        model, report = AutoModelForAudioClassification.from_pretrained(
            checkpoint, dtype=torch.float32, output_loading_info=True
        )
        extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    if report["missing_keys"]:
        raise AdoptError(
            f"checkpoint {checkpoint} lacks the weights {min(report['missing_keys'])}: it was not "
            "trained to classify audio; give a checkpoint that was"
        )
    names = dict(model.config.id2label or {})
    return Source(
        model=model.eval(),
        extractor=extractor,
        labels=tuple(names[column] for column in sorted(names)),
        activation=activation or _default_activation(model.config.problem_type),
        weights=_describe_weights(checkpoint, licence or _read_licence(checkpoint)),
    )


def _default_activation(problem: str | None) -> Activation:
    """Return the activation that transformers' pipeline uses for a `problem_type`."""
    return "sigmoid" if problem == "multi_label_classification" else "softmax"


def _read_licence(checkpoint: str) -> str | None:
    """Return the licence in the model card's metadata; None without one."""
    file = cached_file(
        checkpoint,
        "README.md",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    text = Path(file).read_text(encoding="utf-8", errors="replace") if file else ""
    if not text.startswith("---"):
        return None
    match = LICENCE_LINE.search(text.split("---", 2)[1])
    return match[1].strip("\"'") if match else None


def _describe_weights(checkpoint: str, licence: str | None) -> Weights:
    """Return the source and the licence of the weights, and whether the licence allows commercial use."""
    allowed = None
    if licence and NON_COMMERCIAL.search(licence):
        allowed = False
    elif licence and COMMERCIAL.search(licence.lower()):
        allowed = True
    folder = Path(checkpoint)
    # Only the folder's name: its path is private to this machine.
    name = folder.resolve().name if folder.is_dir() else checkpoint
    return Weights(source=name, licence=licence, commercial_use=allowed)
