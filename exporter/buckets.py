"""Buckets: the lengths in tokens to which lyrics are padded."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from media.tokens import pad_tokens

MIN_BUCKET = 16
"""Length of the shortest bucket in tokens. Padding shorter lyrics to it costs almost no time."""


def token_buckets(max_tokens: int) -> tuple[int, ...]:
    """Return the buckets 16, 32, 64 … below `max_tokens`, and `max_tokens` as the last."""
    buckets = []
    length = MIN_BUCKET
    while length < max_tokens:
        buckets.append(length)
        length *= 2
    return (*buckets, max_tokens)


def pad_to_bucket(ids: Sequence[int], max_tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask (1, bucket) of one track's lyrics, padded to the shortest sufficient bucket."""
    length = next(bucket for bucket in token_buckets(max_tokens) if len(ids) <= bucket)
    return pad_tokens([ids], length)
