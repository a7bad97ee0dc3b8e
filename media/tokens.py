"""Turns clean lyrics into padded token ids, in training and in serving."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


class LyricsTokenizer:
    """A bundle's `tokenizer.json`. Safe to share between threads."""

    def __init__(self, file: Path, max_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def encode(self, lyrics: str) -> list[int]:
        """Return the token ids, at most `max_tokens`; none for empty lyrics."""
        return list(self._tokenizer.encode(lyrics).ids) if lyrics else []


def pad_tokens(rows: Sequence[Sequence[int]], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token ids and mask (rows, length): ids padded with 0; mask 1 at tokens and 0 at padding."""
    ids = np.zeros((len(rows), length), np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask
