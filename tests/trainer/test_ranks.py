"""Two ranks train as one would: the contrastive loss compares what both of them hear and read."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT

PROGRAM = Path(__file__).with_name("ranks.py")


@pytest.mark.timeout(300)
def test_two_ranks_take_the_step_of_one(tmp_path: Path) -> None:
    for ranks in (1, 2):
        subprocess.run([sys.executable, PROGRAM, str(ranks), tmp_path], check=True, cwd=ROOT)
    alone, together = (torch.load(tmp_path / f"{ranks}.pt") for ranks in (1, 2))
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert alone["gradients"].keys() == together["gradients"].keys()
    for name, gradient in alone["gradients"].items():
        torch.testing.assert_close(together["gradients"][name], gradient, rtol=1e-3, atol=1e-5)
