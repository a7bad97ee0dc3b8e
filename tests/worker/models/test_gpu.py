"""The version matrix: the error names the wrong version and what to install."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from worker.models.gpu import GpuStack, find_problem

RIGHT = GpuStack(
    onnxruntime="1.27.0",
    driver_cuda=(13, 0),
    cuda=frozenset({13}),
    cudnn=frozenset({9}),
    tensorrt=frozenset({10}),
    tensorrt_version="10.13.3",
    capability="9.0",
)


def test_the_right_versions_have_no_problem() -> None:
    assert find_problem(RIGHT, "cuda") is None
    assert find_problem(RIGHT, "tensorrt") is None


@pytest.mark.parametrize(
    ("change", "named", "install"),
    [
        ({"onnxruntime": "1.26.1"}, "ONNX Runtime 1.26.1 is for an older CUDA", "extra `gpu`"),
        ({"driver_cuda": None}, "no NVIDIA driver was found", "install 580 or newer"),
        ({"driver_cuda": (12, 8)}, "driver supports CUDA 12.8, 13 is needed", "install driver 580"),
        (
            {"cuda": frozenset({12})},
            "CUDA 12 is installed, ONNX Runtime 1.27.0 loads CUDA 13",
            "nvidia-cublas",
        ),
        ({"cuda": frozenset()}, "CUDA is not installed", "nvidia-cuda-runtime"),
        ({"cudnn": frozenset({8})}, "cuDNN 8 is installed", "nvidia-cudnn-cu13"),
        ({"cudnn": frozenset()}, "cuDNN is not installed", "nvidia-cudnn-cu13"),
    ],
)
def test_a_wrong_version_is_named(change: dict[str, Any], named: str, install: str) -> None:
    for provider in ("cuda", "tensorrt"):
        problem = find_problem(dataclasses.replace(RIGHT, **change), provider)
        assert problem is not None
        assert named in problem
        assert install in problem


def test_tensorrt_11_is_not_10() -> None:
    newer = dataclasses.replace(RIGHT, tensorrt=frozenset({11}))
    problem = find_problem(newer, "tensorrt")
    assert problem is not None
    assert "TensorRT 11 is installed, ONNX Runtime 1.27.0 loads TensorRT 10" in problem
    assert '"tensorrt-cu13<11"' in problem
    assert find_problem(newer, "cuda") is None


def test_the_cpu_needs_no_gpu_library() -> None:
    nothing = GpuStack("1.20.0", None, frozenset(), frozenset(), frozenset())
    assert find_problem(nothing, "cpu") is None


def test_newer_releases_are_not_older() -> None:
    assert find_problem(dataclasses.replace(RIGHT, onnxruntime="1.100.0"), "cuda") is None
    assert find_problem(dataclasses.replace(RIGHT, onnxruntime="2.0.0"), "cuda") is None


FOUND = """
import onnxruntime
from worker.models.gpu import load_gpu_stack
onnxruntime.preload_dlls = lambda: None  # torch installs some of these libraries
found = load_gpu_stack()
print(*found.cudnn, *found.tensorrt)
"""


def found(code: str, libraries: Path) -> str:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)


def put(folder: Path, *names: str) -> None:
    # Any library: only its name matters.
    loaded = Path("/proc/self/maps").read_text().split()
    library = next(path for path in loaded if Path(path).name.startswith("libm"))
    for name in names:
        shutil.copy(library, folder / name)


def skip_if_installed(empty: Path) -> None:
    if found(FOUND, empty) != "\n":
        pytest.skip("cuDNN or TensorRT is installed")


def test_libraries_are_found_by_their_names(tmp_path: Path) -> None:
    skip_if_installed(tmp_path)
    put(tmp_path, "libcudnn.so.8", "libnvinfer.so.12")
    assert found(FOUND, tmp_path) == "8 12\n"


def test_another_version_is_not_loaded_beside_the_right_one(tmp_path: Path) -> None:
    skip_if_installed(tmp_path)
    put(tmp_path, "libcudnn.so.8", "libcudnn.so.9")
    loaded = found(FOUND + "print(open('/proc/self/maps').read())", tmp_path)
    assert loaded.startswith("9\n")
    assert "libcudnn.so.9" in loaded
    assert "libcudnn.so.8" not in loaded


def test_fp32_products_are_not_rounded(tmp_path: Path) -> None:
    code = (
        "import os; from worker.models.gpu import load_gpu_stack; load_gpu_stack(); "
        "print(os.environ['NVIDIA_TF32_OVERRIDE'])"
    )
    assert found(code, tmp_path) == "0\n"
