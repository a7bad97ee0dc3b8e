"""The exporter, measured: how fast graphs of the `paper` preset run on a CPU, and how fast bundles load.

    .venv/bin/python benchmarks/export.py bundle OUT
    .venv/bin/python benchmarks/export.py table OUT

`bundle` writes the preset with random weights. `table` runs it and the network that it was made of, in
turns, on tracks of one and of three windows with lyrics that fill the token limit, and writes
benchmarks/results/export.md. Ratios come from medians of such turns, so that a busy machine slows all alike;
CPU-seconds count what all threads used.
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
"""Times the tracks a second of torch eager."""
FRONTEND_BOUND = 0.1
LOAD_BOUND = 3.0
"""Seconds, for the preset `small`."""

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
    """Of a run."""

    seconds: float
    cpu_seconds: float


@app.command()
def bundle(out: Path) -> None:
    """Write the bundle, fp32 and int8, about 0.6 GB. Takes minutes: graphs are compared with the network."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        write_paper_checkpoint(checkpoint)
        # Random weights decide by chance: rounding them changes more labels than it may.
        rounded = PrecisionOptions(("int8",), allow_loss=True)
        write_bundle(load_checkpoint(checkpoint), out, "paper-random", "0.0.1", rounded, print)
    print(f"{out} written")


@app.command()
def table(bundle: Path, rounds: int = 7) -> None:
    """Measure that bundle, and write benchmarks/results/export.md."""
    with tempfile.TemporaryDirectory() as folder:
        write_paper_checkpoint(Path(folder, "checkpoint"))
        network = load_checkpoint(Path(folder, "checkpoint")).network
        frontend = _frontend_alone(bundle, Path(folder, "frontend.onnx"))
    torch.set_num_threads(available_cpus())
    models = {name: Model(ModelSettings(bundle=bundle, precision=name)) for name in ("fp32", "int8")}
    config = network.config
    chance = np.random.default_rng(0)
    ids = chance.integers(5, 100, config.max_tokens)
    measured: dict[int, dict[str, Cost]] = {}
    for windows in (1, config.audio.windows):
        heard = chance.normal(0, 0.1, (windows, config.audio.window_samples)).astype(np.float32)
        track = [ModelInput(heard, tuple(ids.tolist()))]
        tensors = (
            torch.from_numpy(heard),
            torch.from_numpy(ids).repeat(windows, 1),
            torch.ones(windows, len(ids), dtype=torch.int64),
        )
        runs: dict[str, Callable[[], object]] = {
            "torch eager": partial(_eager, network, tensors),
            "torch eager, lyrics read once": partial(_eager_once, network, tensors),
            **{f"ONNX Runtime {name}": partial(model.predict, track) for name, model in models.items()},
            "frontend alone": partial(frontend.run, None, {"waveform": heard}),
        }
        measured[windows] = _interleaved(runs, rounds)
    loads = {
        "`small` (deploy/demo/bundle)": _loaded(DEMO_DATA / "bundle"),
        "`paper`": _loaded(bundle),
    }
    RESULTS.write_text(_page(measured, loads, rounds))
    print(RESULTS.read_text())


def _eager(network: Network, tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = network(*tensors)[0]
    return logits


def _eager_once(network: Network, tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """As the graphs do it: all windows have the same lyrics."""
    heard, ids, mask = tensors
    with torch.inference_mode():
        hidden = network.encode_lyrics(ids[:1], mask[:1]).expand(len(ids), -1, -1)
        return network.classify(network.frontend(heard), hidden, mask, network.genre_vectors()).logits


def _frontend_alone(bundle: Path, file: Path) -> onnxruntime.InferenceSession:
    """The fp32 graph up to the log-mels."""
    graph = bundle / read_bundle(bundle).graphs["fp32"]
    model = onnx.load(graph)
    names = find_frontend_nodes(model.graph)
    last = [node for node in model.graph.node if node.name in names][-1]
    onnx.utils.extract_model(graph, file, ["waveform"], [last.output[0]])
    return new_session(file, [PROVIDERS["cpu"]], None, "cpu")


def _interleaved(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """Medians of each, after a turn that does not count."""
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
        name: Cost(*(statistics.median(column) for column in zip(*found, strict=True)))
        for name, found in costs.items()
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
    int8, frontend = medians["ONNX Runtime int8"].seconds, medians["frontend alone"].seconds
    over = (
        ("fp32, times torch eager, at least", FP32_BOUND, eager / fp32, ge),
        ("int8, times torch eager, at least", INT8_BOUND, eager / int8, ge),
        ("frontend, of fp32's time, at most", FRONTEND_BOUND, frontend / fp32, le),
    )
    return [
        f"| {windows} | {what} | {bound:g} | {value:.2f} | {'met' if meets(value, bound) else 'missed'} |"
        for what, bound, value, meets in over
    ]


def _loaded(bundle: Path) -> tuple[float, float]:
    """Seconds, and MiB of memory, to open and warm a bundle in a process of its own: medians of three."""
    found = [
        subprocess.run(
            [sys.executable, "-c", LOAD, str(bundle)], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    seconds, memory = (statistics.median(map(float, column)) for column in zip(*found, strict=True))
    return seconds, memory


def _page(measured: dict[int, dict[str, Cost]], loads: dict[str, tuple[float, float]], rounds: int) -> str:
    return "\n".join(
        [
            "# The exported graphs, measured",
            "",
            f"`python benchmarks/export.py table OUT --rounds {rounds}`, {datetime.now(UTC):%Y-%m-%d}, "
            f"{available_cpus()} cores of {processor()}, "
            f"load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, "
            f"onnxruntime {onnxruntime.__version__}.",
            "",
            "The `paper` preset with an encoder of BERT-base's size, random weights, lyrics of 256 tokens. "
            f"Medians of {rounds} turns, in which all take part.",
            "",
            f"The preset hears {max(measured)} windows of a track, whose lyrics the graphs read once.",
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
            "Opened and warmed in a process of its own; memory is what that adds.",
            "",
            "| bundle | s | MiB |",
            "|---|--:|--:|",
            *(f"| {name} | {seconds:.2f} | {memory:.0f} |" for name, (seconds, memory) in loads.items()),
            "",
        ]
    )


if __name__ == "__main__":
    app()
