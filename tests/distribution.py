"""Which tests `make test` runs in one process, and which it starts first.

Tests of a file share a process (`--dist loadfile`). Beyond that, files that use the same exported bundle or
the same fitted checkpoint share a process, so that it is made once, and the tests of a few long files are
distributed one by one. The longest start first, so that no process is left with one of them at the end.
"""

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling

SHARED = {
    "tests/exporter/adopt": "adopted bundle",
    "tests/exporter": "exported bundle",
    "tests/trainer/evaluation/test_command.py": "fitted checkpoint",
    "tests/trainer/features/test_extract.py": "fitted checkpoint",
    "tests/trainer/fit/test_run.py": "fitted checkpoint",
    "tests/trainer/test_checkpoint.py": "fitted checkpoint",
}
"""Group of the tests below a path; the longest path counts."""

BY_TEST = frozenset({"tests/test_docs.py"})
"""Files whose tests share nothing that is slow to make."""

BY_PARAMETERS = frozenset({"tests/exporter/test_every_network.py"})
"""Files whose tests with the same parameters share what is slow to make."""

LONGEST_FIRST = (
    "tests/trainer/ablation",
    "tests/trainer/fit/test_run.py",
    "tests/test_docs.py",
    "tests/exporter",
    "tests/trainer",
)


def group(nodeid: str) -> str:
    """Return the name of the group whose tests run in the same process."""
    file, _, test = nodeid.partition("::")
    if file in BY_TEST:
        return nodeid
    if file in BY_PARAMETERS:
        return f"{file}{test[test.find('[') :]}"
    return next((SHARED[path] for path in _paths(file) if path in SHARED), file)


def rank(nodeid: str) -> int:
    """Return the position of the test's file in `LONGEST_FIRST`; its length if it is not there."""
    paths = _paths(nodeid.partition("::")[0])
    return next((at for at, path in enumerate(LONGEST_FIRST) if path in paths), len(LONGEST_FIRST))


def _paths(file: str) -> list[str]:
    """Return the path and the folders above it, the longest first."""
    return [file, *map(str, PurePosixPath(file).parents)]


class GroupScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Scheduler that gives each group of tests to one process, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
