"""Compares the probabilities of a graph with those of its checkpoint."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from exporter.checks.cases import Feed, parity_cases
from exporter.checks.scores import Scores, scores_of_graph, scores_of_network
from exporter.errors import ParityError
from schemas.bundle import INPUTS, BundleManifest, Parity, Precision, read_bundle
from trainer.checkpoint import Checkpoint

MAX_DIFFERENCE = 1e-4
"""Allowed difference of a probability for fp32. A larger one would change labels near a threshold."""

MAX_REDUCED_DIFFERENCE = 0.1
"""Allowed difference for fp16 and int8: only detects wrong graphs. Their cost in labels is measured too."""


def allowed_difference(precision: Precision) -> float:
    """Return the allowed difference of a probability for a precision."""
    return MAX_DIFFERENCE if precision == "fp32" else MAX_REDUCED_DIFFERENCE


def measure_parity(checkpoint: Checkpoint, graph: Path) -> Parity:
    """Compare the checkpoint with a graph run by ONNX Runtime on the CPU. Raises GraphError, ParityError."""
    reference = scores_of_network(checkpoint.network)
    return compare("the checkpoint", reference, graph, checkpoint_cases(checkpoint), MAX_DIFFERENCE)


def checkpoint_cases(checkpoint: Checkpoint) -> Iterable[Feed]:
    """Return the parity cases for a checkpoint's windows, token limit and vocabulary."""
    network = checkpoint.network
    return parity_cases(
        network.config.audio, network.config.max_tokens, network.lyrics_encoder.config.vocab_size
    )


def verify(bundle: Path, checkpoint: Checkpoint | None = None) -> dict[Precision, Parity]:
    """Check a bundle's hashes, and compare each of its graphs with the checkpoint, else with the fp32 graph.

    Raises BundleError, GraphError, ParityError.
    """
    manifest = read_bundle(bundle)
    name, reference = load_reference(bundle, manifest, checkpoint)
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


def load_reference(
    bundle: Path, manifest: BundleManifest, checkpoint: Checkpoint | None
) -> tuple[str, Scores]:
    """Return the name and the scores of a bundle's reference: its checkpoint, else its fp32 graph.

    Raises GraphError; ParityError if the bundle was not made of the checkpoint.
    """
    if checkpoint is None:
        return "the fp32 graph", scores_of_graph(bundle / manifest.graphs["fp32"])
    _require_same_inputs(manifest, checkpoint)
    return "the checkpoint", scores_of_network(checkpoint.network)


def _require_same_inputs(manifest: BundleManifest, checkpoint: Checkpoint) -> None:
    network = checkpoint.description.config.network
    for what, of_bundle, of_checkpoint in (
        ("genres", manifest.genres, checkpoint.description.genres),
        ("windows", manifest.audio, network.audio),
        ("token limits", manifest.lyrics.max_tokens, network.max_tokens),
    ):
        if of_bundle != of_checkpoint:
            raise ParityError(
                f"bundle {manifest.label} and the checkpoint have different {what}: give the checkpoint "
                "that the bundle was made of"
            )


def compare(
    name: str,
    reference: Scores,
    graph: Path,
    cases: Iterable[Feed],
    allowed: float,
    advice: str = "export again from the checkpoint",
) -> Parity:
    """Compare a graph's probabilities with the reference's, called `name` in messages.

    Raises GraphError; ParityError if a probability differs by more than `allowed`.
    """
    graph_scores = scores_of_graph(graph)
    worst, count = 0.0, 0
    for feed in cases:
        difference = float(np.abs(graph_scores(feed) - reference(feed)).max())
        if not difference <= allowed:
            batch, tokens = feed[INPUTS[1]].shape
            raise ParityError(
                f"{graph.name} and {name} differ by {difference:.2g} in a probability "
                f"(batch {batch}, {tokens} tokens); at most {allowed:g} is allowed: {advice}"
            )
        worst = max(worst, difference)
        count += 1
    return Parity(max_probability_difference=worst, cases=count)
