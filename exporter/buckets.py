"""The lengths to which lyrics are padded."""

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
