"""The lengths to which lyrics are padded."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from media.tokens import pad_tokens

SHORTEST_BUCKET = 16
"""Tokens. Padding shorter lyrics to it costs next to nothing."""


def token_buckets(max_tokens: int) -> tuple[int, ...]:
    """16, 32, 64 … up to the limit, which is the last."""
    buckets = []
    length = SHORTEST_BUCKET
    while length < max_tokens:
        buckets.append(length)
        length *= 2
    return (*buckets, max_tokens)


def padded(ids: Sequence[int], max_tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask (1, bucket) of one track's lyrics, in the bucket that they fill best."""
    length = next(bucket for bucket in token_buckets(max_tokens) if len(ids) <= bucket)
    return pad_tokens([ids], length)
