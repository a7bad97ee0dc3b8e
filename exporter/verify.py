"""Does the graph say what the checkpoint says?"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from exporter.cases import Feed, parity_cases
from exporter.errors import ParityError
from exporter.scores import Scores, scores_of_graph, scores_of_network
from schemas.bundle import INPUTS, Parity, read_bundle
from trainer.checkpoint import Checkpoint

LARGEST_DIFFERENCE = 1e-4
"""Of any probability. Beyond it labels near a threshold would change."""


def measure_parity(checkpoint: Checkpoint, graph: Path) -> Parity:
    """Compare the checkpoint with a graph run by ONNX Runtime on the CPU. Raises GraphError, ParityError."""
    return _compare(
        scores_of_network(checkpoint.network), graph, checkpoint_cases(checkpoint), LARGEST_DIFFERENCE
    )


def checkpoint_cases(checkpoint: Checkpoint) -> Iterable[Feed]:
    """The parity cases in a checkpoint's own sizes."""
    network = checkpoint.network
    return parity_cases(
        network.config.audio, network.config.max_tokens, network.lyrics_encoder.config.vocab_size
    )


def _compare(reference: Scores, graph: Path, cases: Iterable[Feed], allowed: float) -> Parity:
    served = scores_of_graph(graph)
    worst, count = 0.0, 0
    for feed in cases:
        difference = float(np.abs(served(feed) - reference(feed)).max())
        if not difference <= allowed:
            batch, tokens = feed[INPUTS[1]].shape
            raise ParityError(
                f"{graph.name} and the checkpoint differ by {difference:.2g} in a probability "
                f"(batch {batch}, {tokens} tokens); at most {allowed:g} is allowed: "
                "export again from this checkpoint"
            )
        worst = max(worst, difference)
        count += 1
    return Parity(max_probability_difference=worst, cases=count)


def verify(bundle: Path, checkpoint: Checkpoint) -> dict[str, Parity]:
    """Check a bundle's hashes, and its fp32 graph against the checkpoint.

    Raises BundleError, GraphError, ParityError.
    """
    manifest = read_bundle(bundle)
    if manifest.genres != checkpoint.description.genres:
        raise ParityError(
            f"bundle {manifest.label} and the checkpoint have other genres: give its own checkpoint"
        )
    return {"fp32": measure_parity(checkpoint, bundle / manifest.graphs["fp32"])}
