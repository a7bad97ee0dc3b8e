"""Checkpoint to bundle, the folder that `schemas.bundle` describes."""

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from exporter.buckets import token_buckets
from exporter.card import model_card
from exporter.cost import cost_on_noise, refuse_loss
from exporter.errors import BundleNameError
from exporter.graph import export_graph
from exporter.quantise import quantise
from exporter.verify import measure_parity
from schemas.bundle import (
    MANIFEST_FILE,
    BundleManifest,
    LyricsInput,
    Precision,
    PrecisionCost,
    sha256_of,
)
from trainer.atomic import new_folder
from trainer.checkpoint import Checkpoint

GRAPH_FILE = "model.fp32.onnx"
INT8_FILE = "model.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"

PACKAGES = ("cogenre", "torch", "onnx", "onnxscript", "onnxruntime", "transformers", "tokenizers")


@dataclass(frozen=True)
class Int8:
    """How an int8 graph is judged."""

    allow_loss: bool = False
    """Write it whatever it costs."""


def write_bundle(
    checkpoint: Checkpoint, out: Path, name: str, version_: str, int8: Int8 | None = None
) -> BundleManifest:
    """Export a checkpoint and write the bundle to the folder `out`, complete or not at all.

    Raises BundleNameError, ParityError, LossError, OutputError.
    """
    check_label(name, version_)
    description = checkpoint.description
    network = description.config.network
    with new_folder(out) as folder:
        graphs: dict[Precision, str] = {"fp32": GRAPH_FILE}
        costs: dict[Precision, PrecisionCost] = {}
        export_graph(checkpoint.network, folder / GRAPH_FILE)
        parity = measure_parity(checkpoint, folder / GRAPH_FILE)
        if int8:
            graphs["int8"] = INT8_FILE
            quantise(folder / GRAPH_FILE, folder / INT8_FILE)
            costs["int8"] = cost_on_noise(checkpoint, folder / GRAPH_FILE, folder / INT8_FILE)
            if not int8.allow_loss:
                refuse_loss(INT8_FILE, costs["int8"])
        shutil.copyfile(checkpoint.tokenizer_file, folder / TOKENIZER_FILE)
        draft = BundleManifest(
            manifest_version=1,
            name=name,
            version=version_,
            genres=description.genres,
            thresholds=description.thresholds,
            correlations=description.correlations,
            audio=network.audio,
            lyrics=LyricsInput(
                tokenizer=TOKENIZER_FILE,
                max_tokens=network.max_tokens,
                buckets=token_buckets(network.max_tokens),
            ),
            embedding_width=network.width,
            graphs=graphs,
            files={file: sha256_of(folder / file) for file in (*graphs.values(), TOKENIZER_FILE)},
            measurements=description.measurements,
            parity=parity,
            precision_cost=costs,
            made_with={package: version(package) for package in PACKAGES},
        )
        (folder / CARD_FILE).write_text(model_card(draft, description))
        files = {**draft.files, CARD_FILE: sha256_of(folder / CARD_FILE)}
        manifest = draft.model_copy(update={"files": files})
        (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest


def check_label(name: str, version_: str) -> None:
    """By the manifest's own rules, before the export, which takes long."""
    examples = {"name": "lower case, digits and hyphens, e.g. demo-small", "version": "e.g. 1.0.0"}
    for key, value in (("name", name), ("version", version_)):
        rules = BundleManifest.model_fields[key].metadata
        try:
            TypeAdapter(Annotated[(str, *rules)]).validate_python(value)
        except ValidationError as error:
            raise BundleNameError(f"{key} {value!r} cannot be used: {examples[key]}") from error
