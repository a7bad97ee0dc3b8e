"""Scores to labels: which genres a track is said to have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import BundleManifest


@dataclass(frozen=True)
class Label:
    """An accepted genre."""

    genre: int
    """Position in the manifest's genres."""
    score: float
    """Probability; a parent's is at least that of its accepted children."""


class LabelRule:
    """Accepts genres at their thresholds, and then the parents of all that were accepted."""

    def __init__(self, manifest: BundleManifest) -> None:
        positions = {genre.slug: at for at, genre in enumerate(manifest.genres)}
        self._thresholds = np.array(manifest.thresholds, dtype=np.float32)
        self._parents = [
            None if genre.parent is None else positions[genre.parent] for genre in manifest.genres
        ]

    def labels(self, scores: NDArray[np.float32]) -> list[Label]:
        """Labels of `scores` (genres,), the highest first. May be none."""
        accepted = {int(at): float(scores[at]) for at in np.flatnonzero(scores >= self._thresholds)}
        for at, score in list(accepted.items()):
            parent = self._parents[at]
            while parent is not None:
                accepted[parent] = max(score, accepted.get(parent, float(scores[parent])))
                parent = self._parents[parent]
        return sorted((Label(at, score) for at, score in accepted.items()), key=lambda label: -label.score)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = 1 / (1 + np.exp(-logits.clip(-80, 80)))
    return probabilities
