"""The rule that turns scores into labels. Training and serving share it, so they accept the same genres."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import Genre

Scores = TypeVar("Scores", np.float32, np.float64)

MAX_LOGIT = 80.0
"""Logits are clipped to ±MAX_LOGIT, so that exp() does not overflow a float32."""


@dataclass(frozen=True)
class Label:
    """An accepted genre of a track."""

    genre: int
    """Index of the genre in the manifest's `genres`."""
    score: float
    """Probability, 0 to 1. At least the score of every accepted child genre."""


class LabelRule:
    """Accepts each genre whose score reaches its threshold, and all ancestors of the accepted genres."""

    def __init__(self, genres: Sequence[Genre], thresholds: Sequence[float] | NDArray[np.float32]) -> None:
        """`thresholds`: one probability per genre, in the order of `genres`. Compared as float32."""
        index = {genre.slug: at for at, genre in enumerate(genres)}
        parents = [None if genre.parent is None else index[genre.parent] for genre in genres]
        self._thresholds = np.asarray(thresholds, dtype=np.float32)
        self._ancestors = [_ancestors(parents, at) for at in range(len(parents))]

    def accept_genres(self, scores: NDArray[Scores]) -> NDArray[np.bool_]:
        """Return which genres are accepted, (tracks, genres) bool, for `scores` (tracks, genres)."""
        accepted: NDArray[np.bool_] = scores >= self._thresholds
        for genre, ancestors in enumerate(self._ancestors):
            for ancestor in ancestors:
                accepted[:, ancestor] |= accepted[:, genre]
        return accepted

    def select_labels(self, scores: NDArray[Scores]) -> list[Label]:
        """Return the labels of one track for its `scores` (genres,), highest score first.

        The list is empty if no genre reaches its threshold.
        """
        accepted = {int(at): float(scores[at]) for at in np.flatnonzero(scores >= self._thresholds)}
        for genre, score in list(accepted.items()):
            for ancestor in self._ancestors[genre]:
                accepted[ancestor] = max(score, accepted.get(ancestor, float(scores[ancestor])))
        return sorted((Label(at, score) for at, score in accepted.items()), key=lambda label: -label.score)


def sigmoid(logits: NDArray[Scores]) -> NDArray[Scores]:
    """Return the probabilities 1 / (1 + exp(-logits)), in the precision of `logits`."""
    probabilities: NDArray[Scores] = 1 / (1 + np.exp(-logits.clip(-MAX_LOGIT, MAX_LOGIT)))
    return probabilities


def _ancestors(parents: Sequence[int | None], genre: int) -> list[int]:
    """Return the parent of a genre, the parent's parent and so on, up to the root."""
    ancestors = []
    parent = parents[genre]
    while parent is not None:
        ancestors.append(parent)
        parent = parents[parent]
    return ancestors
