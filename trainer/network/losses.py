"""The training loss L = λ·L_AL + (1 − λ)·L_BCE of the paper. B = batch, G = genres."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name


def contrastive_loss(similarity: Tensor, has_lyrics: Tensor) -> Tensor:
    """Return the contrastive loss L_AL = ½(L_{A→L} + L_{L→A}), a scalar.

    `similarity` (B, B) is s(A_i, L_j) / τ of audio i and lyrics j. L_{A→L} is the cross-entropy of
    identifying a track's lyrics among all lyrics of the batch by its audio, L_{L→A} that of identifying its
    audio by its lyrics. Only tracks whose `has_lyrics` (B,) is true take part. The loss is 0 if there are
    fewer than two.
    """
    kept = similarity[has_lyrics][:, has_lyrics]
    if len(kept) < 2:
        return similarity.sum() * 0
    targets = torch.arange(len(kept), device=kept.device)
    return (F.cross_entropy(kept, targets) + F.cross_entropy(kept.T, targets)) / 2


def genre_loss(
    logits: Tensor,
    labels: Tensor,
    positive_focus: float = 0.0,
    negative_focus: float = 0.0,
    negative_margin: float = 0.0,
) -> Tensor:
    """Return L_BCE, a scalar, of logits (B, G) and labels (B, G) between 0 and 1.

    With a focus or a margin, it is the asymmetric loss (Ridnik et al., 2021), with p = sigmoid(logit),
    p_m = max(p − m, 0), γ₊ = `positive_focus`, γ₋ = `negative_focus` and m = `negative_margin`:

        −y·(1 − p)^γ₊·log(p) − (1 − y)·p_m^γ₋·log(1 − p_m)

    The loss is summed over genres and averaged over tracks. Averaged over genres too, it would be negligible
    beside L_AL.
    """
    if not (positive_focus or negative_focus or negative_margin):
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(labels)
    # In float32: in half precision, the probability of a large logit is rounded to 0 or 1.
    p = logits.float().sigmoid()
    p_m = (p - negative_margin).clamp(min=0)
    positive = labels * (1 - p) ** positive_focus * F.logsigmoid(logits.float())
    negative = (1 - labels) * p_m**negative_focus * torch.log1p(-p_m.clamp(max=1 - 1e-6))
    return -(positive + negative).sum() / len(labels)
