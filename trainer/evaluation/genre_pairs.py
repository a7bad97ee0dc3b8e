"""Pairs of genres: confusions, and genres that occur together."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from schemas.bundle import Genre
from trainer.evaluation.findings import Confusion, Graphs, Matrix
from trainer.network.genre_graph import conditional_probabilities, cosine_similarities


def count_confusions(accepted: Tensor, labels: Tensor, genres: Sequence[Genre]) -> tuple[Confusion, ...]:
    """Return every pair of a missed genre and a genre predicted instead, by tracks, from (N, G) tensors.

    A track can have several genres, so a wrongly predicted genre is counted only against the genres that
    were missed, not against those that were predicted correctly.
    """
    truth = labels.bool()
    missed, wrong = (truth & ~accepted).double(), (accepted & ~truth).double()
    counts = missed.T @ wrong
    tracks_of_genre = truth.sum(0).tolist()
    confusions = [
        Confusion(
            missed=genres[row].slug,
            predicted=genres[column].slug,
            tracks=int(counts[row, column]),
            share=round(float(counts[row, column]) / tracks_of_genre[row], 6),
        )
        for row, column in counts.nonzero().tolist()
    ]
    return tuple(
        sorted(confusions, key=lambda pair: (-pair.tracks, -pair.share, pair.missed, pair.predicted))
    )


def compare_graphs(correlations: Tensor, vectors: Tensor, labels: Tensor) -> Graphs:
    """Return the genre graph A (G, G) beside what was learned and what was observed.

    `vectors` (G, W) are the trained genre vectors, `labels` (N, G) those of the measured tracks.
    """
    observed = conditional_probabilities(labels)
    observed[labels.sum(0) == 0] = torch.nan
    return Graphs(
        correlations=_to_matrix(correlations),
        learned=_to_matrix(cosine_similarities(vectors)),
        observed=_to_matrix(observed),
    )


def _to_matrix(values: Tensor) -> Matrix:
    return tuple(
        tuple(None if math.isnan(cell) else round(cell, 4) for cell in row) for row in values.tolist()
    )
