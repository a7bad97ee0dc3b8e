"""Measures how fast graphs of the `paper` preset run on a CPU, and how fast bundles load.

    .venv/bin/python benchmarks/export.py bundle OUT
    .venv/bin/python benchmarks/export.py table OUT

`bundle` writes the preset with random weights. `table` runs its graphs and the network that it was made of on
tracks of one and of three windows, with lyrics of the maximum length, and writes
benchmarks/results/export.md. The variants alternate, and ratios are of medians, so that a busy machine slows
all variants alike. CPU-seconds are the sum over all threads.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from operator import ge, le
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
import typer

from benchmarks.machine import processor
from benchmarks.paper_checkpoint import write_paper_checkpoint
from exporter.bundle import PrecisionOptions, write_bundle
from exporter.passes.frontend_nodes import find_frontend_nodes
from media.cpus import available_cpus
from schemas.bundle import read_bundle
from trainer.checkpoint import load_checkpoint
from trainer.network.network import Network
from worker.models.model import Model, ModelInput
from worker.models.session import PROVIDERS, new_session
from worker.settings import DEMO_DATA, ModelSettings

RESULTS = Path(__file__).parent / "results" / "export.md"
FP32_BOUND, INT8_BOUND = 2.5, 5.0
"""Minimum speed relative to torch eager, in tracks per second."""
FRONTEND_BOUND = 0.1
"""Maximum share of the frontend in the fp32 graph's time."""
LOAD_BOUND = 3.0
"""Maximum time to load the preset `small`, in seconds."""

LOAD = """
import sys, time
from worker.memory import resident_bytes
from worker.models.model import open_bundle
before, started = resident_bytes(), time.perf_counter()
model = open_bundle(sys.argv[1])
print(time.perf_counter() - started, (resident_bytes() - before) / 2**20)
"""

app = typer.Typer(no_args_is_help=True, add_completion=False)


class Cost(NamedTuple):
    """Duration and CPU-seconds of one run."""

    seconds: float
    cpu_seconds: float


@app.command()
def bundle(out: Path) -> None:
    """Write a bundle with fp32 and int8 graphs, about 0.6 GB. Takes minutes, with the checks of an export."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        write_paper_checkpoint(checkpoint)
        # With random weights scores lie near the thresholds, so that int8 changes more labels than allowed.
        options = PrecisionOptions(("int8",), allow_loss=True)
        write_bundle(load_checkpoint(checkpoint), out, "paper-random", "0.0.1", options, print)
    print(f"{out} written")


@app.command()
def table(bundle: Path, rounds: int = 7) -> None:
    """Measure the bundle that `bundle` wrote, and write benchmarks/results/export.md."""
    with tempfile.TemporaryDirectory() as folder:
        write_paper_checkpoint(Path(folder, "checkpoint"))
        network = load_checkpoint(Path(folder, "checkpoint")).network
        frontend = _frontend_session(bundle, Path(folder, "frontend.onnx"))
    torch.set_num_threads(available_cpus())
    models = {name: Model(ModelSettings(bundle=bundle, precision=name)) for name in ("fp32", "int8")}
    config = network.config
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 100, config.max_tokens)
    measured: dict[int, dict[str, Cost]] = {}
    for windows in (1, config.audio.windows):
        waveform = rng.normal(0, 0.1, (windows, config.audio.window_samples)).astype(np.float32)
        track = [ModelInput(waveform, tuple(ids.tolist()))]
        tensors = (
            torch.from_numpy(waveform),
            torch.from_numpy(ids).repeat(windows, 1),
            torch.ones(windows, len(ids), dtype=torch.int64),
        )
        runs: dict[str, Callable[[], object]] = {
            "torch eager": partial(_eager, network, tensors),
            "torch eager, lyrics encoded once": partial(_eager_lyrics_once, network, tensors),
            **{f"ONNX Runtime {name}": partial(model.predict, track) for name, model in models.items()},
            "frontend only": partial(frontend.run, None, {"waveform": waveform}),
        }
        measured[windows] = _interleaved(runs, rounds)
    loads = {
        "`small` (deploy/demo/bundle)": _measure_loading(DEMO_DATA / "bundle"),
        "`paper`": _measure_loading(bundle),
    }
    RESULTS.write_text(_page(measured, loads, rounds))
    print(RESULTS.read_text())


def _eager(network: Network, tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = network(*tensors)[0]
    return logits


def _eager_lyrics_once(network: Network, tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Run the network as the graphs do: the lyrics of all windows are encoded once."""
    waveform, ids, mask = tensors
    with torch.inference_mode():
        hidden = network.encode_lyrics(ids[:1], mask[:1]).expand(len(ids), -1, -1)
        return network.classify(network.frontend(waveform), hidden, mask, network.genre_vectors()).logits


def _frontend_session(bundle: Path, file: Path) -> onnxruntime.InferenceSession:
    """Return a session of the fp32 graph up to the log-mel spectrogram."""
    graph = bundle / read_bundle(bundle).graphs["fp32"]
    model = onnx.load(graph)
    names = find_frontend_nodes(model.graph)
    last = [node for node in model.graph.node if node.name in names][-1]
    onnx.utils.extract_model(graph, file, ["waveform"], [last.output[0]])
    return new_session(file, [PROVIDERS["cpu"]], None, "cpu")


def _interleaved(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """Run each variant in each of `rounds` + 1 turns; return medians without the first turn."""
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
            if turn:
                costs[name].append(cost)
        print(f"turn {turn} of {rounds}", flush=True)
    return {
        name: Cost(*(statistics.median(column) for column in zip(*turns, strict=True)))
        for name, turns in costs.items()
    }


def _rows(windows: int, medians: dict[str, Cost]) -> list[str]:
    eager = medians["torch eager"]
    return [
        f"| {windows} | {name} | {1 / cost.seconds:.2f} | {eager.seconds / cost.seconds:.2f} | "
        f"{cost.cpu_seconds:.3f} | {eager.cpu_seconds / cost.cpu_seconds:.2f} | "
        f"{cost.seconds / medians['ONNX Runtime fp32'].seconds:.2f} |"
        for name, cost in medians.items()
    ]


def _bounds(windows: int, medians: dict[str, Cost]) -> list[str]:
    eager, fp32 = medians["torch eager"].seconds, medians["ONNX Runtime fp32"].seconds
    int8, frontend = medians["ONNX Runtime int8"].seconds, medians["frontend only"].seconds
    checks = (
        ("fp32, times torch eager, at least", FP32_BOUND, eager / fp32, ge),
        ("int8, times torch eager, at least", INT8_BOUND, eager / int8, ge),
        ("frontend, of fp32's time, at most", FRONTEND_BOUND, frontend / fp32, le),
    )
    return [
        f"| {windows} | {what} | {bound:g} | {value:.2f} | {'met' if meets(value, bound) else 'missed'} |"
        for what, bound, value, meets in checks
    ]


def _measure_loading(bundle: Path) -> tuple[float, float]:
    """Return seconds and MiB to open and warm a bundle in a new process: medians of three."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", LOAD, str(bundle)], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    seconds, memory = (statistics.median(map(float, column)) for column in zip(*outputs, strict=True))
    return seconds, memory


def _page(measured: dict[int, dict[str, Cost]], loads: dict[str, tuple[float, float]], rounds: int) -> str:
    return "\n".join(
        [
            "# Speed of the exported graphs",
            "",
            f"`python benchmarks/export.py table OUT --rounds {rounds}`, {datetime.now(UTC):%Y-%m-%d}, "
            f"{available_cpus()} cores of {processor()}, "
            f"load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, "
            f"onnxruntime {onnxruntime.__version__}.",
            "",
            "The `paper` preset with an encoder of BERT-base's size, random weights, lyrics of 256 tokens. "
            f"Medians of {rounds} turns; in each turn every variant runs.",
            "",
            f"The preset analyses {max(measured)} windows of a track. The graphs encode its lyrics once.",
            "",
            "| windows a track | tracks/s | bound | measured | |",
            "|--:|---|--:|--:|---|",
            *(row for windows, medians in measured.items() for row in _bounds(windows, medians)),
            "",
            "| windows a track | | tracks/s | × eager | CPU-seconds | × eager, CPU | of fp32's time |",
            "|--:|---|--:|--:|--:|--:|--:|",
            *(row for windows, medians in measured.items() for row in _rows(windows, medians)),
            "",
            f"## Loading, bound {LOAD_BOUND:g} s for `small`",
            "",
            "Each bundle is loaded and warmed up in a new process. Memory is the increase during loading.",
            "",
            "| bundle | s | MiB |",
            "|---|--:|--:|",
            *(f"| {name} | {seconds:.2f} | {memory:.0f} |" for name, (seconds, memory) in loads.items()),
            "",
        ]
    )


if __name__ == "__main__":
    app()
