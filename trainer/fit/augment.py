"""Augmentation of training examples: SpecAugment and mixup. Both are off unless configured."""

import torch
from torch import Tensor

from trainer.features.features import Example


def spec_augment(log_mel: Tensor, bands: int, frames: int) -> Tensor:
    """Return log_mel (B, mels, frames) with a frequency mask and a time mask in each example.

    The masks are set to 0 and are at most `bands` and `frames` wide; each example has its own width and
    position (SpecAugment: Park et al., 2019).
    """
    _, mels, length = log_mel.shape
    masked = (
        _random_spans(log_mel, mels, bands)[:, :, None] | _random_spans(log_mel, length, frames)[:, None, :]
    )
    return log_mel.masked_fill(masked, 0.0)


def _random_spans(like: Tensor, length: int, max_width: int) -> Tensor:
    """Return (B, length), bool: in each row one random span of at most `max_width` is true."""
    draws = torch.rand(2, len(like), 1, device=like.device)
    width = (draws[0] * (min(max_width, length) + 1)).floor()
    start = (draws[1] * (length - width + 1)).floor()
    position = torch.arange(length, device=like.device)
    return (position >= start) & (position < start + width)


def mixup(batch: Example, alpha: float) -> Example:
    """Return each example interpolated with another of the batch (mixup: Zhang et al., 2018).

    The weight of the example itself is drawn from Beta(α, α), once a batch. Lyrics are interpolated as hidden
    states, position by position.
    """
    log_mel, hidden, mask, labels = batch
    weight = torch.distributions.Beta(alpha, alpha).sample().to(log_mel.device)
    other = torch.randperm(len(labels), device=labels.device)
    masked_hidden = hidden * mask[:, :, None]
    return (
        torch.lerp(log_mel[other], log_mel, weight),
        torch.lerp(masked_hidden[other], masked_hidden, weight),
        mask | mask[other],
        torch.lerp(labels[other], labels, weight),
    )
