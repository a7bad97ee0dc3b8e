"""Does the graph say what the checkpoint says?"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from exporter.checks.cases import Feed, parity_cases
from exporter.checks.scores import Scores, scores_of_graph, scores_of_network
from exporter.errors import ParityError
from schemas.bundle import INPUTS, BundleManifest, Parity, Precision, read_bundle
from trainer.checkpoint import Checkpoint

LARGEST_DIFFERENCE = 1e-4
"""Of any probability. Beyond it labels near a threshold would change."""

ROUNDED_DIFFERENCE = 0.1
"""Of a precision that rounds. It tells a wrong graph; what rounding costs in labels, the manifest says."""


def allowed_difference(precision: Precision) -> float:
    return LARGEST_DIFFERENCE if precision == "fp32" else ROUNDED_DIFFERENCE


def measure_parity(checkpoint: Checkpoint, graph: Path) -> Parity:
    """Compare the checkpoint with a graph run by ONNX Runtime on the CPU. Raises GraphError, ParityError."""
    reference = scores_of_network(checkpoint.network)
    return compare("the checkpoint", reference, graph, checkpoint_cases(checkpoint), LARGEST_DIFFERENCE)


def checkpoint_cases(checkpoint: Checkpoint) -> Iterable[Feed]:
    """The parity cases in a checkpoint's own sizes."""
    network = checkpoint.network
    return parity_cases(
        network.config.audio, network.config.max_tokens, network.lyrics_encoder.config.vocab_size
    )


def verify(bundle: Path, checkpoint: Checkpoint | None = None) -> dict[Precision, Parity]:
    """Check a bundle's hashes, and each of its graphs against the checkpoint, else against the fp32 one.

    Raises BundleError, GraphError, ParityError.
    """
    manifest = read_bundle(bundle)
    name, reference = reference_of(bundle, manifest, checkpoint)
    tokenizer = Tokenizer.from_file(str(bundle / manifest.lyrics.tokenizer))
    return {
        precision: compare(
            name,
            reference,
            bundle / file,
            parity_cases(manifest.audio, manifest.lyrics.max_tokens, tokenizer.get_vocab_size()),
            allowed_difference(precision),
        )
        for precision, file in manifest.graphs.items()
    }


def reference_of(bundle: Path, manifest: BundleManifest, checkpoint: Checkpoint | None) -> tuple[str, Scores]:
    """What a bundle is compared with, and its name: its checkpoint, else its fp32 graph.

    Raises GraphError, and ParityError where the checkpoint is another's.
    """
    if checkpoint is None:
        return "the fp32 graph", scores_of_graph(bundle / manifest.graphs["fp32"])
    _require_same_inputs(manifest, checkpoint)
    return "the checkpoint", scores_of_network(checkpoint.network)


def _require_same_inputs(manifest: BundleManifest, checkpoint: Checkpoint) -> None:
    network = checkpoint.description.config.network
    for what, mine, its in (
        ("genres", manifest.genres, checkpoint.description.genres),
        ("windows", manifest.audio, network.audio),
        ("token limits", manifest.lyrics.max_tokens, network.max_tokens),
    ):
        if mine != its:
            raise ParityError(
                f"bundle {manifest.label} and the checkpoint have other {what}: give its own checkpoint"
            )


def compare(
    name: str,
    reference: Scores,
    graph: Path,
    cases: Iterable[Feed],
    allowed: float,
    advice: str = "export again from the checkpoint",
) -> Parity:
    """A graph's probabilities with those of what is called `name`. Raises GraphError, ParityError."""
    served = scores_of_graph(graph)
    worst, count = 0.0, 0
    for feed in cases:
        difference = float(np.abs(served(feed) - reference(feed)).max())
        if not difference <= allowed:
            batch, tokens = feed[INPUTS[1]].shape
            raise ParityError(
                f"{graph.name} and {name} differ by {difference:.2g} in a probability "
                f"(batch {batch}, {tokens} tokens); at most {allowed:g} is allowed: {advice}"
            )
        worst = max(worst, difference)
        count += 1
    return Parity(max_probability_difference=worst, cases=count)
