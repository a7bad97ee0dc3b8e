"""Two ranks give the same step as one: the contrastive loss compares the tracks of both."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from trainer.checkpoint import load_checkpoint

PROGRAM = Path(__file__).with_name("ranks.py")


@pytest.mark.timeout(300)
def test_two_ranks_compute_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    for ranks in (1, 2):
        subprocess.run([sys.executable, PROGRAM, str(ranks), tmp_path], check=True, cwd=ROOT)
    one, two = (torch.load(tmp_path / f"{ranks}.pt") for ranks in (1, 2))
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.timeout(300)
def test_two_processes_write_one_checkpoint(manifest: Path, tmp_path: Path) -> None:
    settings = [
        'network.audio={"sample_rate":8000,"window_seconds":1,"windows":1,"picking":"spread"}',
        'network.lyrics_model={"vocabulary":100,"layers":1,"width":16,"heads":2,"steps":2}',
        *("network.n_fft=512", "network.hop=256", "fit.epochs=1", "fit.batch=4", "fit.devices=2"),
    ]
    command = [str(Path(sys.executable).with_name("cogenre-train")), "fit", str(manifest)]
    command += ["--preset", "ablation"]
    command += [part for setting in settings for part in ("--set", setting)]
    command += ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "cache"}
    assert len((tmp_path / "out" / "metrics.csv").read_text().splitlines()) == 2
    assert load_checkpoint(tmp_path / "out").description.config.fit.devices == 2
