"""Tests that share slow fixtures run in the same process."""

import pytest

from tests.conftest import ROOT
from tests.distribution import BY_PARAMETERS, BY_TEST, LONGEST_FIRST, SHARED, group, rank


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/media/test_lyrics.py::test_a", "tests/media/test_lyrics.py"),
        ("tests/exporter/checks/test_operators.py::test_a[x]", "exported bundle"),
        ("tests/exporter/adopt/test_adopt.py::test_a", "adopted bundle"),
        ("tests/exporter/test_every_network.py::test_a[x, y]", "tests/exporter/test_every_network.py[x, y]"),
        ("tests/test_docs.py::test_a[export]", "tests/test_docs.py::test_a[export]"),
    ],
)
def test_groups(nodeid: str, expected: str) -> None:
    assert group(nodeid) == expected


def test_long_files_start_first() -> None:
    files = ("tests/media/test_lyrics.py", "tests/trainer/data/test_read.py", "tests/test_docs.py")
    assert sorted(files, key=rank) == list(reversed(files))


@pytest.mark.parametrize("path", sorted({*SHARED, *BY_TEST, *BY_PARAMETERS, *LONGEST_FIRST}))
def test_named_files_exist(path: str) -> None:
    assert (ROOT / path).exists()
