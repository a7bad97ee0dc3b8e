"""The result of a model for a track. `worker.models` makes it, `worker.catalog` stores it."""

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
    """A prediction and the input that it was made from."""

    prediction: Prediction
    lyrics: LyricsUse
    track_seconds: float
    """Duration of the track."""
    analysed_seconds: float
    """Duration of the windows that the model analysed."""
