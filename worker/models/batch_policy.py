"""Selects the queued tracks that form the next batch. `worker.models.batcher` calls it in its thread."""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import ConfigError
from worker.models.model import ModelInput


@dataclass(frozen=True)
class BatchPolicy:
    """Forms a batch of the oldest track and later ones whose lyrics are padded to the same length.

    Equal lengths need little padding. The oldest track is always included, so that no track waits forever.
    """

    max_rows: int
    """Maximum windows in a batch."""
    max_tokens: int
    """Maximum lyrics tokens in a batch, padding included."""
    bucket: Callable[[int], int]
    """Returns the length to which lyrics are padded, for their number of tokens."""

    def select(self, queued: list[ModelInput]) -> list[int]:
        """Return the positions of the next batch's tracks in `queued`, which is in order of arrival."""
        length = self.bucket(len(queued[0].token_ids))
        max_rows = min(self.max_rows, self.max_tokens // length)
        rows = 0
        selected = []
        for position, track in enumerate(queued):
            if self.bucket(len(track.token_ids)) != length:
                continue
            if rows + len(track.windows) > max_rows:
                break
            rows += len(track.windows)
            selected.append(position)
        return selected

    def validate(self, windows: int, max_tokens: int) -> None:
        """Raise ConfigError if one track of `windows` windows and `max_tokens` tokens exceeds the limits."""
        if windows > self.max_rows:
            raise ConfigError(
                f"a track has {windows} windows, and COGENRE_BATCH_ROWS allows {self.max_rows} in a batch: "
                f"set COGENRE_BATCH_ROWS to {windows} or more"
            )
        if windows * max_tokens > self.max_tokens:
            raise ConfigError(
                f"a track has up to {windows} × {max_tokens} tokens, and COGENRE_BATCH_TOKENS allows "
                f"{self.max_tokens} in a batch: "
                f"set COGENRE_BATCH_TOKENS to {windows * max_tokens} or more"
            )
