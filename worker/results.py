"""The result of a model for a track. `worker.models` creates it, `worker.catalog` stores it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import LyricsUse

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """Output of a model for one track: means over the track's windows."""

    scores: Floats
    """(genres,) probabilities, in the order of the manifest's genres."""
    embedding: Floats
    """(width,) fused audio and lyrics vector, for similarity search."""


@dataclass(frozen=True)
class TrackResult:
    """A prediction and properties of its input."""

    prediction: Prediction
    lyrics: LyricsUse
    """`used`, or the reason why the model did not read the lyrics."""
    track_seconds: float
    """Duration of the track."""
    analysed_seconds: float
    """Duration of the part of the track that the windows cover."""
