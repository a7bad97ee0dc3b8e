"""The genre correlation matrix A of GCEM, the paper's genre correlations extraction module."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name


def conditional_probabilities(labels: Tensor) -> Tensor:
    """Return A¹ (genres, genres), with A¹_ij = P(genre j | genre i).

    The probabilities are counted in `labels` (tracks, genres) of 0 and 1. This follows the text of the paper;
    its formula divides by N(L_j) instead, which gives P(genre i | genre j). A genre without tracks has 1 on
    the diagonal and 0 elsewhere.
    """
    together = labels.T @ labels
    counts = together.diagonal()
    conditional = together / counts.clamp(min=1)[:, None]
    return conditional + torch.diag((counts == 0).to(conditional.dtype))


def cosine_similarities(features: Tensor) -> Tensor:
    """Return A² (genres, genres), the cosine similarities of the node features (genres, H)."""
    unit = F.normalize(features, dim=-1)
    return unit @ unit.T


def correlations(labels: Tensor, features: Tensor) -> Tensor:
    """Return A = ½(A¹ + A²) (genres, genres). A² reduces the effect of noise and imbalance in A¹."""
    return (conditional_probabilities(labels) + cosine_similarities(features)) / 2


def propagation(correlation: Tensor, self_loop: float) -> Tensor:
    """Return the propagation matrix Â (genres, genres) of the graph convolution, whose rows sum to 1.

    Â_ii is `self_loop`; the rest of row i is shared among the other genres in proportion to A. Negative
    correlations count as 0; a genre without positive ones has Â_ii = 1. Rows are normalised, unlike the
    symmetric form of Kipf and Welling (2017), because A¹ is not symmetric.
    """
    neighbours = correlation.clamp(min=0)
    neighbours = neighbours - torch.diag(neighbours.diagonal())
    shares = F.normalize(neighbours, p=1, dim=-1)
    isolated = shares.sum(-1) == 0
    self_weight = torch.where(isolated, 1.0, self_loop)
    return torch.diag(self_weight) + (1 - self_weight)[:, None] * shares
