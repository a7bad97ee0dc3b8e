"""`pytest --fast` runs many tests, starts no server and imports no torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fast.heavy_imports import HEAVY
from tests.fast.selection import is_heavy

MIN_TESTS = 200


def test_the_selection_has_the_tests_without_servers_and_torch() -> None:
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if not is_heavy(file)]
    names = {str(file.relative_to(ROOT / "tests")) for file in files}
    assert {"media/test_lyrics.py", "schemas/test_jobs.py", "test_names.py"} <= names
    assert not [name for name in names if name.startswith("exporter/")]
    sources = [file.read_text() for file in files if "environment" not in file.read_text()]
    assert sum(source.count("\ndef test_") for source in sources) > MIN_TESTS


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn", True),
        ("from transformers import AutoModel", True),
        ("import trainer.network.network", True),
        ("from trainer.network import network", True),
        ("try:\n    import torch\nexcept ImportError:\n    pass", True),
        ("class A:\n    import torch", True),
        ("import numpy\nimport media.decode", False),
        ("def test() -> None:\n    import torch", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
    ],
)
def test_files_that_import_torch_are_found(source: str, expected: bool, tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(source)
    assert is_heavy(file) is expected


def test_folders_whose_conftest_imports_torch_are_found() -> None:
    assert is_heavy(ROOT / "tests" / "exporter" / "passes")
    assert not is_heavy(ROOT / "tests" / "media")


@pytest.mark.parametrize(
    "program",
    [
        *(f"import {package}" for package in sorted(HEAVY)),
        "import worker.local.stack as s\nwith s.local_stack(): pass",
    ],
)
def test_processes_can_neither_start_servers_nor_import_torch(program: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests" / "fast")}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "@pytest.mark.heavy" in ran.stderr
