"""Cache of arrays on disk, shared between runs. Each array is a file named by the digest of its inputs.

```
<folder>/digests/9c/9c02….npy     SHA-256 of an object in S3, by its URL and ETag
<folder>/log-mels/3f/3f9a….npy    features of the windows of a recording
<folder>/hidden/c1/c1b0….npy      hidden states of the lyrics encoder
```
Entries are never removed. The folder may be deleted while no run uses it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.atomic import new_file
from storage.errors import OutputError


@dataclass(frozen=True)
class Cache:
    """Arrays by kind and key. Safe to share between threads and processes."""

    folder: Path

    def get(self, kind: str, key: str) -> NDArray[Any] | None:
        """Return the array stored under a kind and a key; None if there is none, or its file is damaged."""
        try:
            array: NDArray[Any] = np.load(self._path(kind, key), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array

    def put(self, kind: str, key: str, array: NDArray[Any]) -> None:
        """Store an array. The file appears complete or not at all. Raises OutputError."""
        path = self._path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path) as file:
                np.save(file, array, allow_pickle=False)
        except OSError as error:
            raise OutputError(
                f"cannot write to the cache {self.folder} ({error.strerror}): choose another with --cache"
            ) from error

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / key[:2] / f"{key}.npy"


def user_cache() -> Path:
    """Return the user's cache folder: $XDG_CACHE_HOME/cogenre, by default ~/.cache/cogenre."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cogenre"
