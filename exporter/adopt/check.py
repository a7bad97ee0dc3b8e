"""Does the graph say what the checkpoint's own pipeline says of the same sound?"""

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
from exporter.checks.cases import Feed, sound
from exporter.checks.graph_parity import compare
from exporter.checks.scores import Scores
from schemas.bundle import INPUTS, AudioInput, Parity

LARGEST_DIFFERENCE = 1e-3
"""Of any probability: the extractors compute in other steps than the graph, in single precision."""

ORIGINAL = "the checkpoint's own pipeline"

Windows = NDArray[np.float32]


def original_scores(source: Source, mapping: Mapping, windows: Windows) -> NDArray[np.float64]:
    """(windows, genres) by transformers' feature extractor and network, each window up to its last sound."""
    extractor: Any = source.extractor
    options: dict[str, Any] = {"sampling_rate": source.sample_rate, "return_tensors": "pt"}
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        # How it makes a batch; the others pad to their own length.
        options |= {"padding": "max_length", "max_length": windows.shape[1]}
    features = extractor([_heard(window) for window in windows], **options)
    with torch.no_grad():
        scores = source.probabilities(source.model(**features).logits).double().numpy()
    return np.stack([scores[:, columns].max(1) for columns in mapping.columns], axis=1)


def pipeline_of(source: Source, mapping: Mapping) -> Scores:
    """The same of a graph's inputs, of which only the waveform is heard."""
    return lambda feed: original_scores(source, mapping, feed[INPUTS[0]].astype(np.float32))


def measure_parity(
    source: Source, mapping: Mapping, audio: AudioInput, graph: Path, recordings: Iterable[Windows] = ()
) -> Parity:
    """Over made-up sound, short and silent windows among it, and `recordings`. Raises ParityError."""
    return compare(
        ORIGINAL,
        pipeline_of(source, mapping),
        graph,
        map(_without_lyrics, chain(_cases(audio), recordings)),
        LARGEST_DIFFERENCE,
        advice="this checkpoint cannot be adopted",
    )


def _without_lyrics(windows: Windows) -> Feed:
    ids = np.zeros((len(windows), 1), np.int64)
    return dict(zip(INPUTS, (windows, ids, ids), strict=True))


def _heard(window: Windows) -> Windows:
    """Without the zeros that follow the end of a short track. A silent window stays whole."""
    sounding = np.flatnonzero(window)
    return window[: sounding[-1] + 1] if len(sounding) else window


def _cases(audio: AudioInput) -> Iterator[Windows]:
    """Tones in noise; tracks shorter than the window; full scale; silence."""
    chance = np.random.default_rng(0)
    samples = audio.window_samples
    for batch in (1, 2, 3):
        yield sound(chance, batch, audio).astype(np.float32)
    short = sound(chance, 2, audio).astype(np.float32)
    _silence_from(short, (samples // 3, 2 * samples // 3))
    yield short
    yield np.stack([np.zeros(samples), chance.choice([-1.0, 1.0], samples)]).astype(np.float32)


def _silence_from(windows: Windows, ends: Sequence[int]) -> None:
    for window, end in zip(windows, ends, strict=True):
        window[end:] = 0
