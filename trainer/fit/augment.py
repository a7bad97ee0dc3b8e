"""Training examples made harder: SpecAugment and mixup, both off unless configured."""

import torch
from torch import Tensor

from trainer.features.features import Example


def spec_augment(log_mel: Tensor, bands: int, frames: int) -> Tensor:
    """Silences up to `bands` neighbouring bands and up to `frames` neighbouring frames of each example.

    log_mel (B, mels, frames); one mask along each axis (Park et al., 2019), each example's of its own width.
    """
    _, mels, length = log_mel.shape
    masked = _span(log_mel, mels, bands)[:, :, None] | _span(log_mel, length, frames)[:, None, :]
    return log_mel.masked_fill(masked, 0.0)


def _span(like: Tensor, length: int, widest: int) -> Tensor:
    """(B, length), true within one random span a row, at most `widest` long."""
    chance = torch.rand(2, len(like), 1, device=like.device)
    width = (chance[0] * (min(widest, length) + 1)).floor()
    start = (chance[1] * (length - width + 1)).floor()
    place = torch.arange(length, device=like.device)
    return (place >= start) & (place < start + width)


def mixup(batch: Example, alpha: float) -> Example:
    """Each example with a share of another's sound, words and genres (Zhang et al., 2018).

    The share is drawn from Beta(α, α) for the batch. Words are mixed as hidden states, position by position.
    """
    log_mel, hidden, mask, labels = batch
    own = torch.distributions.Beta(alpha, alpha).sample().to(log_mel.device)
    other = torch.randperm(len(labels), device=labels.device)
    words = hidden * mask[:, :, None]
    return (
        torch.lerp(log_mel[other], log_mel, own),
        torch.lerp(words[other], words, own),
        mask | mask[other],
        torch.lerp(labels[other], labels, own),
    )
