"""What training minimises: L = λ·L_AL + (1 − λ)·L_BCE."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name


def contrastive_loss(similarity: Tensor, has_lyrics: Tensor) -> Tensor:
    """L_AL = ½(L_{A→L} + L_{L→A}) over s(A_i, L_j) / τ (B, B); tracks without lyrics stay out.

    Each track's own lyrics against the other lyrics of the batch, and the other way round. Zero where
    fewer than two tracks have lyrics.
    """
    kept = similarity[has_lyrics][:, has_lyrics]
    if len(kept) < 2:
        return similarity.sum() * 0
    own = torch.arange(len(kept), device=kept.device)
    return (F.cross_entropy(kept, own) + F.cross_entropy(kept.T, own)) / 2


def genre_loss(
    logits: Tensor,
    labels: Tensor,
    positive_focus: float = 0.0,
    negative_focus: float = 0.0,
    negative_margin: float = 0.0,
) -> Tensor:
    """L_BCE of logits (B, G) and labels (B, G) from 0 to 1, or the asymmetric loss (Ridnik et al., 2021).

    Summed over genres and averaged over tracks: averaged over genres too, it vanishes beside L_AL.
    """
    if not (positive_focus or negative_focus or negative_margin):
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(labels)
    # In half precision a confident logit leaves no probability to take the logarithm of.
    p = logits.float().sigmoid()
    absent = (p - negative_margin).clamp(min=0)
    positive = labels * (1 - p) ** positive_focus * F.logsigmoid(logits.float())
    negative = (1 - labels) * absent**negative_focus * torch.log1p(-absent.clamp(max=1 - 1e-6))
    return -(positive + negative).sum() / len(labels)
