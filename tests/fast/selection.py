"""Which tests `pytest --fast` runs: those that need neither a server nor torch.

A test file is left out if it, a conftest.py above it, or a module of this project that they import when
they are loaded, imports a package of `HEAVY`. A test is left out if it uses a fixture of `HEAVY_FIXTURES`,
or is marked `slow` or `heavy`. `pytest --fast` makes the import of these packages fail, so a test that
starts a server or uses torch in another way fails until it is marked.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.fast.heavy_imports import HEAVY

ROOT = Path(__file__).parents[2]
PACKAGES = frozenset(path.name for path in ROOT.iterdir() if any(path.glob("*.py")))
HEAVY_FIXTURES = frozenset({"stack", "checkpoint_folder"})


def is_heavy(path: Path) -> bool:
    """Return whether loading the file, or a conftest.py above it, imports a package of `HEAVY`."""
    folders = [folder for folder in (path, *path.parents) if folder.is_relative_to(ROOT)]
    files = [path, *(folder / "conftest.py" for folder in folders)]
    return any(_imports_heavy(file) for file in files if file.is_file())


def _imports_heavy(file: Path) -> bool:
    seen: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for name in _imported_names(current):
            if name.partition(".")[0] in HEAVY:
                return True
            waiting += _project_files(name)
    return False


def _project_files(name: str) -> list[Path]:
    """Return the files of this project that are loaded when `name` is imported."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return []
    prefixes = [ROOT.joinpath(*parts[: end + 1]) for end in range(len(parts))]
    files = [file for path in prefixes for file in (path / "__init__.py", path.with_suffix(".py"))]
    return [file for file in files if file.exists()]


@cache
def _imported_names(file: Path) -> tuple[str, ...]:
    """Return the names of the modules, and of what is taken from them, that loading `file` imports."""
    names: list[str] = []
    for node in _run_at_import(ast.parse(file.read_bytes()).body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def _run_at_import(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements outside functions and `if TYPE_CHECKING`."""
    for statement in statements:
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _run_at_import(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from _run_at_import(handler.body)
