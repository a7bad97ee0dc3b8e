"""Genres beside each other: which are mistaken for which, and which go together."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from schemas.bundle import Genre
from trainer.evaluation.findings import Confusion, Graphs, Matrix
from trainer.network.genre_graph import conditional_probabilities, cosine_similarities


def confusions(accepted: Tensor, labels: Tensor, genres: Sequence[Genre]) -> tuple[Confusion, ...]:
    """Every pair of which one genre was missed and the other given instead, by (N, G) tensors.

    With several genres a track, a wrong one beside the right ones is no confusion of these: only what
    was missed can have been taken for it.
    """
    truth = labels.bool()
    missed, wrong = (truth & ~accepted).double(), (accepted & ~truth).double()
    swapped = missed.T @ wrong
    have = truth.sum(0).tolist()
    found = [
        Confusion(
            missed=genres[row].slug,
            given=genres[column].slug,
            tracks=int(swapped[row, column]),
            share=round(float(swapped[row, column]) / have[row], 6),
        )
        for row, column in swapped.nonzero().tolist()
    ]
    return tuple(sorted(found, key=lambda one: (-one.tracks, -one.share, one.missed, one.given)))


def graphs(correlations: Tensor, vectors: Tensor, labels: Tensor) -> Graphs:
    """Of A (G, G), the genre vectors (G, W), and the labels (N, G) of the tracks measured on."""
    observed = conditional_probabilities(labels)
    observed[labels.sum(0) == 0] = torch.nan
    return Graphs(
        correlations=_matrix(correlations),
        learned=_matrix(cosine_similarities(vectors)),
        observed=_matrix(observed),
    )


def _matrix(values: Tensor) -> Matrix:
    return tuple(
        tuple(None if math.isnan(cell) else round(cell, 4) for cell in row) for row in values.tolist()
    )
