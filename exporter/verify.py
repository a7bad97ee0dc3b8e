"""Does the graph say what the checkpoint says?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.errors import ParityError
from schemas.bundle import INPUTS, OUTPUTS, Parity, read_bundle
from trainer.checkpoint import Checkpoint

LARGEST_DIFFERENCE = 1e-4
"""Of any probability. Beyond it labels near a threshold would change."""

BATCHES = (1, 2, 3, 7)

Inputs = tuple[Tensor, Tensor, Tensor]


def measure_parity(checkpoint: Checkpoint, graph: Path) -> Parity:
    """Compare the checkpoint with a graph run by ONNX Runtime on the CPU. Raises ParityError."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst, cases = 0.0, 0
    for inputs in _cases(checkpoint):
        with torch.no_grad():
            logits, _ = checkpoint.network(*inputs)
        feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        (served,) = session.run(OUTPUTS[:1], feed)
        difference = float(np.abs(_sigmoid(served) - _sigmoid(logits.numpy())).max())
        if not difference <= LARGEST_DIFFERENCE:
            batch, tokens = inputs[1].shape
            raise ParityError(
                f"{graph.name} and the checkpoint differ by {difference:.2g} in a probability "
                f"(batch {batch}, {tokens} tokens); at most {LARGEST_DIFFERENCE:g} is allowed: "
                "export again from this checkpoint"
            )
        worst = max(worst, difference)
        cases += 1
    return Parity(max_probability_difference=worst, cases=cases)


def verify(bundle: Path, checkpoint: Checkpoint) -> dict[str, Parity]:
    """Check a bundle's hashes, and each of its graphs against the checkpoint, by precision.

    Raises BundleError, ParityError.
    """
    manifest = read_bundle(bundle)
    if manifest.genres != checkpoint.description.genres:
        raise ParityError(
            f"bundle {manifest.label} and the checkpoint have other genres: give its own checkpoint"
        )
    return {
        precision: measure_parity(checkpoint, bundle / file) for precision, file in manifest.graphs.items()
    }


def _cases(checkpoint: Checkpoint) -> Iterator[Inputs]:
    """Noise and tones, quiet to full scale, with lyrics of one token to the limit, and with none."""
    network = checkpoint.network.config
    samples, limit = network.audio.window_samples, network.max_tokens
    vocabulary = checkpoint.network.lyrics_encoder.config.vocab_size
    chance = torch.Generator().manual_seed(0)
    time = torch.arange(samples) / network.audio.sample_rate
    for batch in BATCHES:
        for tokens in sorted({1, 2, limit // 2 + 1, limit}):
            hertz = 40 * 2 ** (8 * torch.rand(batch, 1, generator=chance))
            tones = torch.sin(2 * torch.pi * hertz * time)
            noise = 2 * torch.rand(batch, samples, generator=chance) - 1
            loudness = 10 ** (-4 * torch.rand(batch, 1, generator=chance))
            waveform = loudness * (tones + noise) / 2
            ids = torch.randint(vocabulary, (batch, tokens), generator=chance)
            lengths = torch.randint(tokens + 1, (batch, 1), generator=chance)
            lengths[0] = tokens
            mask = (torch.arange(tokens) < lengths).long()
            yield waveform, ids * mask, mask
        yield waveform, torch.zeros_like(ids), torch.zeros_like(mask)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))
