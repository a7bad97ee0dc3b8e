"""The version matrix: what is wrong is named, with what to install."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from worker.gpu import GpuStack, complaint

RIGHT = GpuStack(
    onnxruntime="1.27.0",
    driver_cuda=(13, 0),
    cuda=frozenset({13}),
    cudnn=frozenset({9}),
    tensorrt=frozenset({10}),
    tensorrt_version="10.13.3",
    capability="9.0",
)


def test_nothing_is_wrong() -> None:
    assert complaint(RIGHT, "cuda") is None
    assert complaint(RIGHT, "tensorrt") is None


@pytest.mark.parametrize(
    ("change", "named", "install"),
    [
        ({"onnxruntime": "1.26.1"}, "ONNX Runtime 1.26.1 is for an older CUDA", "extra `gpu`"),
        ({"driver_cuda": None}, "no NVIDIA driver answers", "install 580 or newer"),
        ({"driver_cuda": (12, 8)}, "driver speaks CUDA 12.8, 13 is needed", "install driver 580"),
        (
            {"cuda": frozenset({12})},
            "CUDA 12 is installed, ONNX Runtime 1.27.0 loads CUDA 13",
            "nvidia-cublas",
        ),
        ({"cuda": frozenset()}, "CUDA is not found", "nvidia-cuda-runtime"),
        ({"cudnn": frozenset({8})}, "cuDNN 8 is installed", "nvidia-cudnn-cu13"),
        ({"cudnn": frozenset()}, "cuDNN is not found", "nvidia-cudnn-cu13"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], named: str, install: str) -> None:
    for provider in ("cuda", "tensorrt"):
        said = complaint(dataclasses.replace(RIGHT, **change), provider)
        assert said is not None
        assert named in said
        assert install in said


def test_tensorrt_11_is_not_10() -> None:
    newer = dataclasses.replace(RIGHT, tensorrt=frozenset({11}))
    said = complaint(newer, "tensorrt")
    assert said is not None
    assert "TensorRT 11 is installed, ONNX Runtime 1.27.0 loads TensorRT 10" in said
    assert '"tensorrt-cu13<11"' in said
    assert complaint(newer, "cuda") is None


def test_a_library_beside_the_right_one_does_no_harm() -> None:
    assert complaint(dataclasses.replace(RIGHT, cuda=frozenset({12, 13})), "cuda") is None


def test_a_cpu_needs_none_of_it() -> None:
    nothing = GpuStack("1.20.0", None, frozenset(), frozenset(), frozenset())
    assert complaint(nothing, "cpu") is None


def test_newer_releases_are_not_older() -> None:
    assert complaint(dataclasses.replace(RIGHT, onnxruntime="1.100.0"), "cuda") is None
    assert complaint(dataclasses.replace(RIGHT, onnxruntime="2.0.0"), "cuda") is None


FIND = "from worker.gpu import gpu_stack as g; print(11 in g().cuda, 8 in g().cudnn, 12 in g().tensorrt)"


def test_libraries_are_found_by_their_names(tmp_path: Path) -> None:
    # Any library will do: its name is what is looked for.
    loaded = Path("/proc/self/maps").read_text().split()
    library = next(path for path in loaded if Path(path).name.startswith("libm"))

    def found() -> str:
        environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
        return subprocess.check_output([sys.executable, "-c", FIND], env=environment, text=True)

    assert found() == "False False False\n"
    for name in ("libcudart.so.11", "libcudnn.so.8", "libnvinfer.so.12"):
        shutil.copy(library, tmp_path / name)
    assert found() == "True True True\n"
