"""Compares the graph of an adopted checkpoint with the checkpoint's own pipeline on the same audio."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Wav2Vec2FeatureExtractor

from exporter.adopt.source import Source
from exporter.adopt.taxonomy import Mapping
from exporter.checks.cases import Feed, noisy_tones
from exporter.checks.graph_parity import compare
from exporter.checks.scores import Scores
from schemas.bundle import INPUTS, AudioInput, Parity

MAX_DIFFERENCE = 1e-3
"""Allowed difference of a probability: the graph computes the features in other steps, in float32."""

ORIGINAL = "the checkpoint's own pipeline"
"""Name of the reference in messages."""

Windows = NDArray[np.float32]
"""(windows, samples)"""


def original_scores(source: Source, mapping: Mapping, windows: Windows) -> NDArray[np.float64]:
    """Return the probabilities (windows, genres) by transformers' feature extractor and network.

    Zeros at the end of a window are cut off.
    """
    extractor: Any = source.extractor
    options: dict[str, Any] = {"sampling_rate": source.sample_rate, "return_tensors": "pt"}
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        # It needs these options to form a batch. Other extractors pad to a fixed length.
        options |= {"padding": "max_length", "max_length": windows.shape[1]}
    features = extractor([_without_padding(window) for window in windows], **options)
    with torch.no_grad():
        scores = source.probabilities(source.model(**features).logits).double().numpy()
    return np.stack([scores[:, columns].max(1) for columns in mapping.columns], axis=1)


def pipeline_scores(source: Source, mapping: Mapping) -> Scores:
    """Return `original_scores` as a function of a graph's inputs. The lyrics are ignored."""
    return lambda feed: original_scores(source, mapping, feed[INPUTS[0]].astype(np.float32))


def measure_parity(
    source: Source, mapping: Mapping, audio: AudioInput, graph: Path, recordings: Iterable[Windows] = ()
) -> Parity:
    """Compare the graph with the checkpoint on synthetic windows and on `recordings`. Raises ParityError."""
    return compare(
        ORIGINAL,
        pipeline_scores(source, mapping),
        graph,
        map(_without_lyrics, chain(_synthetic_windows(audio), recordings)),
        MAX_DIFFERENCE,
        advice="this checkpoint cannot be adopted",
    )


def _without_lyrics(windows: Windows) -> Feed:
    ids = np.zeros((len(windows), 1), np.int64)
    return dict(zip(INPUTS, (windows, ids, ids), strict=True))


def _without_padding(window: Windows) -> Windows:
    """Return the window without the zeros at its end. A silent window is returned whole."""
    nonzero = np.flatnonzero(window)
    return window[: nonzero[-1] + 1] if len(nonzero) else window


def _synthetic_windows(audio: AudioInput) -> Iterator[Windows]:
    """Yield windows of tones in noise, of tracks shorter than a window, at full scale, and silent."""
    rng = np.random.default_rng(0)
    samples = audio.window_samples
    for batch in (1, 2, 3):
        yield noisy_tones(rng, batch, audio).astype(np.float32)
    short = noisy_tones(rng, 2, audio).astype(np.float32)
    _silence_after(short, (samples // 3, 2 * samples // 3))
    yield short
    yield np.stack([np.zeros(samples), rng.choice([-1.0, 1.0], samples)]).astype(np.float32)


def _silence_after(windows: Windows, ends: Sequence[int]) -> None:
    for window, end in zip(windows, ends, strict=True):
        window[end:] = 0
