"""The arithmetic of the capacity plan, and that docs/capacity.md contains its output."""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.capacity import RESULTS, UTILISATION, Worker, plan, workers
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "capacity.md"

ON_A_CPU: dict[str, Any] = {
    "command": "throughput.py",
    "date": "2026-01-01",
    "machine": "4 CPUs",
    "model": "demo:1",
    "provider": "cpu",
    "precision": "fp32",
    "track": "180 s",
    "cpus": 4,
    "load": 4.0,
    "cpu_seconds": {"decode": 0.1, "tokenise": 0.0, "session": 0.3},
    "device_seconds": 0.1,
    "efficiency": 0.5,
}
ON_A_GPU = ON_A_CPU | {"provider": "cuda", "device_seconds": 0.01}


@pytest.mark.parametrize(
    ("figures", "cpus", "rate"),
    [
        (ON_A_CPU, 4, 5),  # 4 CPUs by 0.4 s, half of it
        (ON_A_CPU, 8, 10),
        (ON_A_GPU, 4, 20),  # 4 CPUs by 0.1 s, half of it: the CPU decodes no faster
        (ON_A_GPU, 64, 100),  # the GPU is the limit
    ],
)
def test_throughput_of_a_worker(figures: dict[str, Any], cpus: int, rate: float) -> None:
    assert Worker.from_figures(figures).tracks_per_second(cpus) == pytest.approx(rate)


def test_the_number_of_workers_is_rounded_up() -> None:
    worker = Worker.from_figures(ON_A_CPU)
    assert workers(5 * UTILISATION, worker, 4) == 1
    assert workers(5 * UTILISATION + 0.01, worker, 4) == 2
    assert workers(50, worker, 4) == 15


def test_the_plan_of_worked_examples() -> None:
    text = plan(ON_A_CPU, 4, concurrency=16)
    assert "| 1,000,000 | 34.72 | 10 | 170 |" in text  # three times the mean, 3.5 tracks/s each
    assert "| 100 million in 30 days | 38.6 | 12 | 204 | 170 GiB |" in text
    assert "| 1,000,000 | 34.72 | 10 | 650 |" in plan(ON_A_CPU, 4, concurrency=64)
    assert "workers of 4 CPUs and a GPU" in plan(ON_A_GPU, 4, concurrency=64)


def test_the_page_contains_the_output_of_the_command() -> None:
    printed = subprocess.run(
        [sys.executable, "benchmarks/capacity.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed in PAGE.read_text(), (
        "put the output of `python benchmarks/capacity.py` in docs/capacity.md"
    )
    assert json.loads((RESULTS / "throughput.json").read_text())["date"] in printed
