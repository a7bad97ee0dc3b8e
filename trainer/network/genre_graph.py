"""Which genres go together: the correlation matrix of the paper's genre correlations extraction module."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name


def conditional_probabilities(labels: Tensor) -> Tensor:
    """A¹ (genres, genres): A¹_ij = P(L_j given L_i), counted in `labels` (tracks, genres) of 0 and 1.

    The paper's formula divides by N(L_j), which is P(L_i given L_j); its text says what is computed here.
    A genre without tracks has 1 on the diagonal and 0 elsewhere.
    """
    together = labels.T @ labels
    counts = together.diagonal()
    conditional = together / counts.clamp(min=1)[:, None]
    return conditional + torch.diag((counts == 0).to(conditional.dtype))


def cosine_similarities(features: Tensor) -> Tensor:
    """A² (genres, genres): cosines of the node features (genres, dim)."""
    unit = F.normalize(features, dim=-1)
    return unit @ unit.T


def correlations(labels: Tensor, features: Tensor) -> Tensor:
    """A = ½(A¹ + A²): the second term tempers noise and imbalance in the first."""
    return (conditional_probabilities(labels) + cosine_similarities(features)) / 2


def propagation(correlation: Tensor, self_loop: float) -> Tensor:
    """What the graph convolution multiplies with: rows of A that sum to 1.

    A genre keeps `self_loop` of itself and shares the rest among its neighbours in proportion to A.
    Rows, not Kipf and Welling's symmetric form, since A¹ is not symmetric; negative cosines count as none.
    """
    neighbours = correlation.clamp(min=0)
    neighbours = neighbours - torch.diag(neighbours.diagonal())
    shares = F.normalize(neighbours, p=1, dim=-1)
    alone = shares.sum(-1) == 0
    own = torch.where(alone, 1.0, self_loop)
    return torch.diag(own) + (1 - own)[:, None] * shares
