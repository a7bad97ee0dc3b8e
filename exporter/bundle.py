"""Exports a checkpoint as a bundle, the folder that `schemas.bundle` describes."""

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
from exporter.checks.precision_cost import Report, check_cost, measure_costs_on_noise, measure_costs_on_tracks
from exporter.checks.product_parity import measure_product_parity
from exporter.checks.scores import Scores, scores_of_network
from exporter.errors import BundleNameError, PrecisionError
from exporter.graph import export_graph
from exporter.passes.fp16 import convert_to_fp16
from exporter.passes.int8 import quantize_to_int8
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
FP16_FILE = "model.fp16.onnx"
INT8_FILE = "model.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"

PACKAGES = ("cogenre", "torch", "onnx", "onnxscript", "onnxruntime", "transformers", "tokenizers")
"""Packages whose versions the manifest lists."""


@dataclass(frozen=True)
class PrecisionOptions:
    """Which graphs of lower precision are written, and how their cost is checked."""

    precisions: tuple[Precision, ...] = ()
    """Lower precisions to write, in addition to fp32."""
    labelled: Library | None = None
    """Labelled tracks that the cost is measured on. None: noise, which needs `allow_loss`."""
    allow_loss: bool = False
    """Whether the lower precisions are written at any cost in labels."""


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    name: str,
    version_: str,
    options: PrecisionOptions = PrecisionOptions(),
    report: Report = lambda _: None,
) -> BundleManifest:
    """Export a checkpoint, check the graphs, and write the bundle atomically to the folder `out`.

    `report` is called with the name of each step.

    Raises BundleNameError, PrecisionError, GraphError, ParityError, LossError, OutputError, ManifestError.
    """
    validate_name_and_version(name, version_)
    if options.precisions and options.labelled is None and not options.allow_loss:
        raise PrecisionError(
            f"the cost of {' and '.join(options.precisions)} in labels is measured on labelled tracks: give "
            "them with --measure, or add --allow-loss"
        )
    description = checkpoint.description
    network = description.config.network
    with new_folder(out) as folder:
        report("exporting the graph")
        export_graph(checkpoint.network, folder / GRAPH_FILE)
        report("comparing the graph with the checkpoint")
        parity = measure_parity(checkpoint, folder / GRAPH_FILE)
        reduced = _write_reduced_graphs(checkpoint, folder, options.precisions)
        graphs: dict[Precision, str] = {"fp32": GRAPH_FILE, **reduced}
        costs = _measure_costs(checkpoint, folder, reduced, options, report)
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
        report("comparing cogenre classify with the checkpoint")
        draft = add_product_parity(folder, draft, "the checkpoint", scores_of_network(checkpoint.network))
        return write_card_and_manifest(folder, draft, model_card(draft, description))


def add_product_parity(
    folder: Path,
    draft: BundleManifest,
    name: str,
    reference: Scores,
    allowed: Callable[[Precision], float] = allowed_difference,
) -> BundleManifest:
    """Return the draft with the result of `measure_product_parity`. Raises ParityError."""
    # `cogenre classify` loads the bundle with its manifest.
    _write_manifest(folder, draft)
    product = measure_product_parity(folder, draft, name, reference, allowed)
    return draft.model_copy(update={"product_parity": product})


def write_card_and_manifest(folder: Path, draft: BundleManifest, card: str) -> BundleManifest:
    """Write the model card, and the manifest with the card's hash. Return the manifest."""
    (folder / CARD_FILE).write_text(card)
    files = {**draft.files, CARD_FILE: sha256_of(folder / CARD_FILE)}
    manifest = draft.model_copy(update={"files": files})
    _write_manifest(folder, manifest)
    return manifest


def _write_reduced_graphs(
    checkpoint: Checkpoint, folder: Path, precisions: tuple[Precision, ...]
) -> dict[Precision, str]:
    """Write a graph for each lower precision, converted from fp32. Return their file names."""
    graphs: dict[Precision, str] = {}
    if "fp16" in precisions:
        export_graph(checkpoint.network, folder / FP16_FILE, deduplicate=False)
        convert_to_fp16(folder / FP16_FILE, folder / FP16_FILE)
        graphs["fp16"] = FP16_FILE
    if "int8" in precisions:
        quantize_to_int8(folder / GRAPH_FILE, folder / INT8_FILE)
        graphs["int8"] = INT8_FILE
    return graphs


def _measure_costs(
    checkpoint: Checkpoint,
    folder: Path,
    reduced: dict[Precision, str],
    options: PrecisionOptions,
    report: Report,
) -> dict[Precision, PrecisionCost]:
    """Return the cost in labels of each lower precision. Raises LossError if one is too high."""
    if not reduced:
        return {}
    report("measuring the cost of precisions")
    others = {precision: folder / file for precision, file in reduced.items()}
    if options.labelled is None:
        costs = measure_costs_on_noise(checkpoint, folder / GRAPH_FILE, others)
    else:
        costs = measure_costs_on_tracks(checkpoint, options.labelled, folder / GRAPH_FILE, others, report)
    if not options.allow_loss:
        for precision, cost in costs.items():
            check_cost(reduced[precision], cost)
    return costs


def _write_manifest(folder: Path, manifest: BundleManifest) -> None:
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")


def validate_name_and_version(name: str, version_: str) -> None:
    """Raise BundleNameError if a bundle may not have this name or version. Called before the long export."""
    examples = {
        "name": "lower case, digits and hyphens, e.g. demo-small",
        "version": "a version such as 1.0.0",
    }
    for key, value in (("name", name), ("version", version_)):
        rules = BundleManifest.model_fields[key].metadata
        try:
            TypeAdapter(Annotated[(str, *rules)]).validate_python(value)
        except ValidationError as error:
            raise BundleNameError(f"{key} {value!r} is not valid: use {examples[key]}") from error
