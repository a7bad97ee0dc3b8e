"""Checkpoint to bundle, the folder that `schemas.bundle` describes."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from exporter.buckets import token_buckets
from exporter.card import model_card
from exporter.checks.graph_parity import allowed_difference, measure_parity
from exporter.checks.precision_cost import Say, costs_on_noise, costs_on_tracks, refuse_loss
from exporter.checks.product_parity import measure_product
from exporter.checks.scores import Scores, scores_of_network
from exporter.errors import BundleNameError, PrecisionError
from exporter.graph import export_graph
from exporter.passes.fp16 import halve
from exporter.passes.int8 import quantise
from schemas.bundle import (
    MANIFEST_FILE,
    BundleManifest,
    LyricsInput,
    Precision,
    PrecisionCost,
    sha256_of,
)
from storage.atomic import new_folder
from trainer.checkpoint import Checkpoint
from trainer.data.library import Library

GRAPH_FILE = "model.fp32.onnx"
HALF_FILE = "model.fp16.onnx"
INT8_FILE = "model.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"

PACKAGES = ("cogenre", "torch", "onnx", "onnxscript", "onnxruntime", "transformers", "tokenizers")


@dataclass(frozen=True)
class Rounded:
    """Which graphs of lower precision are written, and how they are judged."""

    precisions: tuple[Precision, ...] = ()
    labelled: Library | None = None
    """On what their cost is measured."""
    allow_loss: bool = False
    """Write them whatever they cost, which is measured on noise where there is nothing better."""


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    name: str,
    version_: str,
    rounded: Rounded = Rounded(),
    say: Say = lambda _: None,
) -> BundleManifest:
    """Export a checkpoint and write the bundle to the folder `out`, complete or not at all.

    Raises BundleNameError, PrecisionError, GraphError, ParityError, LossError, OutputError, ManifestError.
    """
    check_label(name, version_)
    if rounded.precisions and rounded.labelled is None and not rounded.allow_loss:
        raise PrecisionError(
            f"what {' and '.join(rounded.precisions)} cost in labels is measured on labelled tracks: give "
            "them as --measure, or add --allow-loss"
        )
    description = checkpoint.description
    network = description.config.network
    with new_folder(out) as folder:
        say("exporting")
        export_graph(checkpoint.network, folder / GRAPH_FILE)
        say("comparing the graph with the checkpoint")
        parity = measure_parity(checkpoint, folder / GRAPH_FILE)
        smaller = _round(checkpoint, folder, rounded.precisions)
        graphs: dict[Precision, str] = {"fp32": GRAPH_FILE, **smaller}
        costs = _costs(checkpoint, folder, smaller, rounded, say)
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
                **network.lyrics_filter.model_dump(),
            ),
            embedding_width=network.width,
            graphs=graphs,
            files={file: sha256_of(folder / file) for file in (*graphs.values(), TOKENIZER_FILE)},
            measurements=description.measurements,
            parity=parity,
            precision_cost=costs,
            made_with={package: version(package) for package in PACKAGES},
        )
        say("comparing cogenre classify with the checkpoint")
        draft = compared(folder, draft, "the checkpoint", scores_of_network(checkpoint.network))
        return seal(folder, draft, model_card(draft, description))


def compared(
    folder: Path,
    draft: BundleManifest,
    name: str,
    reference: Scores,
    allowed: Callable[[Precision], float] = allowed_difference,
) -> BundleManifest:
    """The draft with what `measure_product` finds. Raises ParityError."""
    # The command loads a whole bundle.
    _write_manifest(folder, draft)
    product = measure_product(folder, draft, name, reference, allowed)
    return draft.model_copy(update={"product_parity": product})


def seal(folder: Path, draft: BundleManifest, card: str) -> BundleManifest:
    """Write what is left of a bundle: its card, and the manifest that names it too."""
    (folder / CARD_FILE).write_text(card)
    files = {**draft.files, CARD_FILE: sha256_of(folder / CARD_FILE)}
    manifest = draft.model_copy(update={"files": files})
    _write_manifest(folder, manifest)
    return manifest


def _round(checkpoint: Checkpoint, folder: Path, precisions: tuple[Precision, ...]) -> dict[Precision, str]:
    """The graphs of lower precision, each made of an fp32 one."""
    graphs: dict[Precision, str] = {}
    if "fp16" in precisions:
        export_graph(checkpoint.network, folder / HALF_FILE, once=False)
        halve(folder / HALF_FILE, folder / HALF_FILE)
        graphs["fp16"] = HALF_FILE
    if "int8" in precisions:
        quantise(folder / GRAPH_FILE, folder / INT8_FILE)
        graphs["int8"] = INT8_FILE
    return graphs


def _costs(
    checkpoint: Checkpoint, folder: Path, smaller: dict[Precision, str], rounded: Rounded, say: Say
) -> dict[Precision, PrecisionCost]:
    """Raises LossError where one costs too much."""
    if not smaller:
        return {}
    say("measuring precisions")
    others = {precision: folder / file for precision, file in smaller.items()}
    if rounded.labelled is None:
        costs = costs_on_noise(checkpoint, folder / GRAPH_FILE, others)
    else:
        costs = costs_on_tracks(checkpoint, rounded.labelled, folder / GRAPH_FILE, others, say)
    if not rounded.allow_loss:
        for precision, cost in costs.items():
            refuse_loss(smaller[precision], cost)
    return costs


def _write_manifest(folder: Path, manifest: BundleManifest) -> None:
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")


def check_label(name: str, version_: str) -> None:
    """By the manifest's own rules, before the export, which takes long."""
    examples = {"name": "lower case, digits and hyphens, e.g. demo-small", "version": "e.g. 1.0.0"}
    for key, value in (("name", name), ("version", version_)):
        rules = BundleManifest.model_fields[key].metadata
        try:
            TypeAdapter(Annotated[(str, *rules)]).validate_python(value)
        except ValidationError as error:
            raise BundleNameError(f"{key} {value!r} cannot be used: {examples[key]}") from error
