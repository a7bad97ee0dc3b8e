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
from exporter.errors import ParityError
from exporter.scores import scores_of_graph
from schemas.bundle import INPUTS, AudioInput, Parity

LARGEST_DIFFERENCE = 1e-3
"""Of any probability: the extractors compute in other steps than the graph, in single precision."""

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


def measure_parity(
    source: Source, mapping: Mapping, audio: AudioInput, graph: Path, recordings: Iterable[Windows] = ()
) -> Parity:
    """Over made-up sound, short and silent windows among it, and `recordings`. Raises ParityError."""
    served = scores_of_graph(graph)
    worst, cases = 0.0, 0
    for windows in chain(_cases(audio), recordings):
        ids = np.zeros((len(windows), 1), np.int64)
        got = served(dict(zip(INPUTS, (windows, ids, ids), strict=True)))
        difference = float(np.abs(got - original_scores(source, mapping, windows)).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise ParityError(
                f"the graph and the checkpoint's own pipeline differ by {difference:.2g} in a probability "
                f"(batch {len(windows)}); at most {LARGEST_DIFFERENCE:g} is allowed: "
                "this checkpoint cannot be adopted"
            )
        worst = max(worst, difference)
        cases += 1
    return Parity(max_probability_difference=worst, cases=cases)


def _heard(window: Windows) -> Windows:
    """Without the zeros that follow the end of a short track. A silent window stays whole."""
    sounding = np.flatnonzero(window)
    return window[: sounding[-1] + 1] if len(sounding) else window


def _cases(audio: AudioInput) -> Iterator[Windows]:
    """Tones in noise at many levels; tracks shorter than the window; full scale; silence."""
    chance = np.random.default_rng(0)
    time = np.arange(audio.window_samples) / audio.sample_rate

    def sound(count: int) -> Windows:
        hertz = 40 * 2 ** chance.uniform(0, 7, (count, 1))
        loudness = 10 ** -chance.uniform(0, 4, (count, 1))
        noise = chance.uniform(-1, 1, (count, audio.window_samples))
        mixed = loudness * (np.sin(2 * np.pi * hertz * time) + noise) / 2
        return np.asarray(mixed, np.float32)

    for batch in (1, 2, 3):
        yield sound(batch)
    short = sound(2)
    _silence_from(short, (audio.window_samples // 3, 2 * audio.window_samples // 3))
    yield short
    yield np.stack([np.zeros_like(time), chance.choice([-1.0, 1.0], len(time))]).astype(np.float32)


def _silence_from(windows: Windows, ends: Sequence[int]) -> None:
    for window, end in zip(windows, ends, strict=True):
        window[end:] = 0
