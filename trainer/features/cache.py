"""Arrays that are computed once and kept across runs, each in a file named by what it was computed of.

```
<folder>/digests/9c/9c02….npy
<folder>/log-mels/3f/3f9a….npy
<folder>/hidden/c1/c1b0….npy
```
Files of inputs that are gone stay: the folder may be deleted whenever no run uses it.
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
    folder: Path

    def get(self, kind: str, key: str) -> NDArray[Any] | None:
        """What was put there; None too where a file is damaged."""
        try:
            array: NDArray[Any] = np.load(self._path(kind, key), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array

    def put(self, kind: str, key: str, array: NDArray[Any]) -> None:
        """Complete or not at all, also beside other runs on the same folder. Raises OutputError."""
        path = self._path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path) as file:
                np.save(file, array, allow_pickle=False)
        except OSError as error:
            raise OutputError(
                f"cannot write to the cache {self.folder} ({error.strerror}): give another by --cache"
            ) from error

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / key[:2] / f"{key}.npy"


def user_cache() -> Path:
    """Where the user's caches lie, by the XDG specification."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cogenre"
