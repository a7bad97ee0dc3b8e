"""Which waiting tracks go into the model together. No threads here: `worker.models.batcher` runs it."""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import ConfigError
from worker.models.model import ModelInput


@dataclass(frozen=True)
class BatchPolicy:
    """The oldest track goes first, and takes along those that are padded to the same length as it.

    A batch of one length pads little; the oldest track leads, so that none starves.
    """

    max_rows: int
    """Windows in one batch, at most."""
    max_tokens: int
    """Lyrics tokens in one batch, at most, padding included."""
    bucket: Callable[[int], int]
    """The length to which lyrics of so many tokens are padded."""

    def take(self, waiting: list[ModelInput]) -> list[int]:
        """Positions of the tracks that go next."""
        length = self.bucket(len(waiting[0].token_ids))
        max_rows = min(self.max_rows, self.max_tokens // length)
        rows = 0
        taken = []
        for at, track in enumerate(waiting):
            if self.bucket(len(track.token_ids)) != length:
                continue
            if rows + len(track.windows) > max_rows:
                break
            rows += len(track.windows)
            taken.append(at)
        return taken

    def check(self, windows: int, longest: int) -> None:
        """Raises ConfigError where a single track, of so many windows and so many tokens, would never fit."""
        if windows > self.max_rows:
            raise ConfigError(
                f"the model hears {windows} windows a track, and a batch holds {self.max_rows}: "
                f"set COGENRE_BATCH_ROWS to {windows} or more"
            )
        if windows * longest > self.max_tokens:
            raise ConfigError(
                f"a track takes {windows} × {longest} tokens, and a batch holds {self.max_tokens}: "
                f"set COGENRE_BATCH_TOKENS to {windows * longest} or more"
            )
