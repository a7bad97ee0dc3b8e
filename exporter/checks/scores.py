"""Probabilities by a checkpoint's network or by a graph."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from exporter.checks.cases import Feed
from exporter.errors import GraphError
from schemas.bundle import INPUTS, OUTPUTS
from schemas.labels import sigmoid
from trainer.network.network import Network

Scores = Callable[[Feed], NDArray[np.float64]]
"""Returns the probabilities (batch, genres) of a batch of windows."""


def scores_of_network(network: Network) -> Scores:
    """Return the scores by torch."""

    def scores(feed: Feed) -> NDArray[np.float64]:
        with torch.no_grad():
            logits, _ = network(*(torch.from_numpy(feed[name]) for name in INPUTS))
        return sigmoid(logits.numpy().astype(np.float64))

    return scores


def scores_of_graph(graph: Path) -> Scores:
    """Return the scores by ONNX Runtime on the CPU. Raises GraphError."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes have no common base but this
        reason = str(error).splitlines()[0]
        raise GraphError(f"{graph.name} does not load: {reason}") from error

    def scores(feed: Feed) -> NDArray[np.float64]:
        (logits,) = session.run(OUTPUTS[:1], feed)
        return sigmoid(logits.astype(np.float64))

    return scores
