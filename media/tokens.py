"""Clean lyrics to token ids."""

from pathlib import Path

from tokenizers import Tokenizer


class LyricsTokenizer:
    """A bundle's `tokenizer.json`. Safe to share between threads."""

    def __init__(self, file: Path, max_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def encode(self, lyrics: str) -> list[int]:
        """Token ids, at most `max_tokens`; none at all for empty lyrics."""
        return list(self._tokenizer.encode(lyrics).ids) if lyrics else []
