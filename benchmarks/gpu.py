"""Measures the graphs of the `paper` preset on a GPU: parity, and windows per second by batch size.

benchmarks/gpu.sh runs this. The variants are torch, eager and compiled, and ONNX Runtime with CUDA and, if
its libraries are installed, TensorRT. They alternate on the same inputs, which are on the GPU already. No two
windows share their lyrics, so that all variants do the same arithmetic. The limit is the speed of a large
matrix product on the same card in the same precision. TF32 is off.
"""

import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.paper_checkpoint import write_paper_checkpoint
from exporter.graph import export_graph
from exporter.passes.fp16 import convert_to_fp16
from schemas.bundle import INPUTS, OUTPUTS
from trainer.checkpoint import load_checkpoint
from trainer.network.network import Network
from worker.models.gpu import TF32_OFF

RESULTS = Path(__file__).parent / "results" / "gpu.md"
DEVICE = "cuda"
BATCHES = (1, 4, 16, 64)
ROUNDS = 7
PRODUCT_SIZE = 8_192
"""Rows and columns of the matrices whose product is the limit."""

TYPES = {"fp32": torch.float32, "fp16": torch.float16}
PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "CUDA": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "TensorRT": ("TensorrtExecutionProvider", {}),
}

Run = Callable[[], Any]
"""Runs a batch and returns the logits (batch, genres) when they are on the CPU."""


def main() -> None:
    os.environ.update(TF32_OFF)
    with tempfile.TemporaryDirectory() as folder:
        write_paper_checkpoint(Path(folder, "checkpoint"))
        network = load_checkpoint(Path(folder, "checkpoint")).network
        # Without deduplication: no lyrics are equal here.
        export_graph(network, Path(folder, "fp32.onnx"), deduplicate=False)
        convert_to_fp16(Path(folder, "fp32.onnx"), Path(folder, "fp16.onnx"))
        work, expected = _work_and_reference(network)
        sessions, missing = _sessions(Path(folder))
        network.to(DEVICE)
        runs = _torch_runs(network) | {name: _by_session(session) for name, session in sessions.items()}
        lines = _table(runs, work, expected)
    RESULTS.write_text("\n".join([*_head(work), *lines, "", *missing, ""]))
    print(RESULTS.read_text())


def _inputs(network: Network, batch: int) -> tuple[Tensor, ...]:
    config = network.config
    generator = torch.Generator().manual_seed(batch)
    return (
        torch.randn(batch, config.audio.window_samples, generator=generator) / 10,
        torch.randint(5, 100, (batch, config.max_tokens), generator=generator),
        torch.ones(batch, config.max_tokens, dtype=torch.int64),
    )


Inputs = dict[int, tuple[tuple[Tensor, ...], Tensor]]
"""Batch size to the inputs, on the device, and the probabilities by torch in fp32 on the CPU."""


def _work_and_reference(network: Network) -> tuple[float, Inputs]:
    """Return the floating point operations of a window, and inputs and expected probabilities by batch."""
    expected = {}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(*_inputs(network, 1))
        for batch in BATCHES:
            inputs = _inputs(network, batch)
            logits, _ = network(*inputs)
            expected[batch] = (tuple(part.to(DEVICE) for part in inputs), logits.sigmoid())
    return float(counter.get_total_flops()), expected


def _torch_runs(network: Network) -> dict[str, Callable[[tuple[Tensor, ...]], Run]]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def run(forward: Callable[..., Tensor]) -> Callable[[tuple[Tensor, ...]], Run]:
        def on(inputs: tuple[Tensor, ...]) -> Run:
            def once() -> Any:
                with torch.inference_mode():
                    return forward(*inputs).float().cpu().numpy()

            return once

        return on

    runs = {}
    for name, kind in TYPES.items():
        eager = _forward(network, kind)
        runs[f"torch eager, {name}"] = run(eager)
        runs[f"torch compile, {name}"] = run(torch.compile(eager, dynamic=False))
    return runs


def _forward(network: Network, kind: torch.dtype) -> Callable[..., Tensor]:
    def forward(waveform: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        # As in the fp16 graph, the frontend is fp32: the power of loud audio exceeds the range of fp16.
        log_mel = network.frontend(waveform)
        with torch.autocast(DEVICE, torch.float16, enabled=kind == torch.float16):
            hidden = network.encode_lyrics(ids, mask)
            logits: Tensor = network.classify(log_mel, hidden, mask, network.genre_vectors()).logits
        return logits

    return forward


def _sessions(folder: Path) -> tuple[dict[str, onnxruntime.InferenceSession], list[str]]:
    """Return a session for each provider and precision, and a line for each that cannot be created."""
    sessions, missing = {}, []
    for name, (provider, options) in PROVIDERS.items():
        for precision in TYPES:
            label = f"ONNX Runtime {name}, {precision}"
            try:
                session = onnxruntime.InferenceSession(
                    folder / f"{precision}.onnx", providers=[(provider, options)]
                )
            except Exception as error:  # ONNX Runtime's own classes have no common base but this
                missing.append(f"- {label} was not run: {str(error).splitlines()[0]}")
                continue
            if session.get_providers()[0] != provider:
                missing.append(f"- {label} was not run: it fell back to {session.get_providers()[0]}")
                continue
            sessions[label] = session
    return sessions, missing


def _by_session(session: onnxruntime.InferenceSession) -> Callable[[tuple[Tensor, ...]], Run]:
    def on(inputs: tuple[Tensor, ...]) -> Run:
        binding = session.io_binding()
        for name, part in zip(INPUTS, inputs, strict=True):
            value = onnxruntime.OrtValue.ortvalue_from_numpy(part.cpu().numpy(), DEVICE, 0)
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(OUTPUTS[0])

        def once() -> Any:
            session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()[0]

        return once

    return on


def _table(runs: dict[str, Callable[[tuple[Tensor, ...]], Run]], work: float, expected: Inputs) -> list[str]:
    limits = {name: _limit(kind) for name, kind in TYPES.items()}
    lines = [
        *(f"Limit, {name}: {limit / 1e12:.1f} TFLOP/s." for name, limit in limits.items()),
        "",
        "| batch | | windows/s | of the limit | largest difference of a probability |",
        "|--:|---|--:|--:|--:|",
    ]
    for batch, (inputs, expected_scores) in expected.items():
        ready = {name: on(inputs) for name, on in runs.items()}
        worst = {
            name: np.abs(1 / (1 + np.exp(-run().astype(np.float64))) - expected_scores.numpy()).max()
            for name, run in ready.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(ROUNDS):
            for name, run in ready.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
        for name, durations in seconds.items():
            rate = batch / statistics.median(durations)
            share = rate * work / limits[name.rsplit(", ")[-1]]
            lines.append(f"| {batch} | {name} | {rate:.1f} | {share:.0%} | {worst[name]:.1e} |")
        print(f"batch {batch} measured", flush=True)
    return lines


def _limit(kind: torch.dtype) -> float:
    """Return the floating point operations per second of a large matrix product: the median of seven."""
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, device=DEVICE, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        (a @ b)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return 2 * PRODUCT_SIZE**3 / statistics.median(seconds[1:])


def _head(work: float) -> list[str]:
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else "no GPU"
    torch_cuda = re.sub(r"^None$", "no CUDA", str(torch.version.cuda))
    return [
        "# Speed of the exported graphs on a GPU",
        "",
        f"`benchmarks/gpu.sh`, {datetime.now(UTC):%Y-%m-%d}, {card}; torch {torch.__version__} "
        f"({torch_cuda}), onnxruntime {onnxruntime.__version__}.",
        "",
        "The `paper` preset with an encoder of BERT-base's size, random weights, lyrics of 256 tokens. "
        f"{work / 1e9:.0f} GFLOP a window. Medians of {ROUNDS} turns; in each turn every variant runs.",
        "",
    ]


if __name__ == "__main__":
    main()
