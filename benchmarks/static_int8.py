"""Measures whether statically quantised convolutions would make the int8 graph faster.

    .venv/bin/python benchmarks/static_int8.py OUT

OUT is a bundle that `benchmarks/export.py bundle` wrote. The audio encoder's convolutions are extracted from
its fp32 graph and quantised statically (QDQ, weights per channel). Both versions alternate on the windows of
one track.
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from exporter.passes.frontend_nodes import find_frontend_nodes
from schemas.bundle import read_bundle
from worker.models.session import PROVIDERS, new_session

WINDOWS, MELS, FRAMES = 3, 128, 1292
"""Input of the audio encoder in the preset `paper`."""
ROUNDS = 7


class LogMels(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Calibration data: each window's log-mel spectrogram is a batch."""

    def __init__(self, name: str, log_mels: NDArray[np.float32]) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = iter(
            [{name: window[None]} for window in log_mels]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def main(bundle: Path) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    graph = bundle / read_bundle(bundle).graphs["fp32"]
    nodes = onnx.load(graph).graph
    frontend = find_frontend_nodes(nodes)
    log_mel_output = [node.output[0] for node in nodes.node if node.name in frontend][-1]
    last_pooling = [node.output[0] for node in nodes.node if node.op_type == "MaxPool"][-1]
    power = np.random.default_rng(0).normal(size=(WINDOWS, MELS, FRAMES)) ** 2
    log_mels = np.log10(1 + 10_000 * power).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.utils.extract_model(graph, files[0], [log_mel_output], [last_pooling])
        quantize_static(
            *files,
            LogMels(log_mel_output, log_mels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MaxPool", "Relu"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
        sessions = {file.stem: new_session(file, [PROVIDERS["cpu"]], None, "cpu") for file in files}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(ROUNDS + 1):
        for name, session in sessions.items():
            started = time.process_time()
            session.run(None, {log_mel_output: log_mels})
            if turn:
                cpu_seconds[name].append(time.process_time() - started)
    for name, costs in cpu_seconds.items():
        print(f"convolutions of {WINDOWS} windows, {name}: {statistics.median(costs):.3f} CPU-seconds")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
