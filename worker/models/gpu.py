"""Compares the installed NVIDIA libraries with the versions that ONNX Runtime needs.

ONNX Runtime itself falls back to the CPU if a version differs, and writes at most a log line.
"""

import contextlib
import ctypes
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import onnxruntime

from worker.settings import Provider

MIN_RUNTIME = (1, 27)
"""The first onnxruntime-gpu release for CUDA 13. Older ones need CUDA 12."""

CUDA, CUDNN, TENSORRT = 13, 9, 10
"""Major versions that ONNX Runtime loads: `libcudart.so.13`, `libcudnn.so.9`, `libnvinfer.so.10`."""

DRIVER = "580"
"""The first NVIDIA driver for CUDA 13."""

CUDA_HINT = "pip install nvidia-cuda-runtime nvidia-cublas nvidia-cufft nvidia-curand"
CUDNN_HINT = "pip install nvidia-cudnn-cu13"
TENSORRT_HINT = 'pip install "tensorrt-cu13<11"'

TF32_OFF = {"NVIDIA_TF32_OVERRIDE": "0"}
"""Environment variable that NVIDIA's libraries read when they are loaded. With TF32, fp32 products would be
rounded to ten bits, and the scores would differ from those of the checkpoint by more than a bundle allows."""

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""Numbers of the compute capability in the driver's enum CUdevice_attribute."""


@dataclass(frozen=True)
class GpuStack:
    """Installed versions. Missing ones are None or empty."""

    onnxruntime: str
    driver_cuda: tuple[int, int] | None
    """Newest CUDA version that the driver supports."""
    cuda: frozenset[int]
    """Installed major versions of the CUDA runtime: only the needed one, or others if that is missing.
    `cudnn` and `tensorrt` likewise."""
    cudnn: frozenset[int]
    tensorrt: frozenset[int]
    tensorrt_version: str | None = None
    """Full version, such as 10.13.3."""
    capability: str | None = None
    """Compute capability of the first GPU, such as 9.0."""


def find_problem(stack: GpuStack, provider: Provider) -> str | None:
    """Return what prevents a provider from running, and what to install; None if nothing does."""
    if provider == "cpu":
        return None
    if _version_numbers(stack.onnxruntime) < MIN_RUNTIME:
        oldest = ".".join(map(str, MIN_RUNTIME))
        return (
            f"ONNX Runtime {stack.onnxruntime} is for an older CUDA: {oldest} or newer is needed, "
            "install cogenre's extra `gpu`"
        )
    if stack.driver_cuda is None:
        return f"no NVIDIA driver was found: install {DRIVER} or newer, or give the container a GPU"
    if stack.driver_cuda[0] < CUDA:
        supported = ".".join(map(str, stack.driver_cuda))
        return (
            f"the NVIDIA driver supports CUDA {supported}, {CUDA} is needed: install driver {DRIVER} or newer"
        )
    libraries = [("CUDA", CUDA, stack.cuda, CUDA_HINT), ("cuDNN", CUDNN, stack.cudnn, CUDNN_HINT)]
    if provider == "tensorrt":
        libraries.append(("TensorRT", TENSORRT, stack.tensorrt, TENSORRT_HINT))
    for name, needed, majors, hint in libraries:
        if needed not in majors:
            state = f"{name} {max(majors)} is installed" if majors else f"{name} is not installed"
            return f"{state}, ONNX Runtime {stack.onnxruntime} loads {name} {needed}: {hint}"
    return None


def load_gpu_stack() -> GpuStack:
    """Return the versions that this process can load.

    Loads the libraries of wheels, so that ONNX Runtime finds them.
    """
    os.environ.update(TF32_OFF)
    with contextlib.redirect_stdout(io.StringIO()):  # preload_dlls prints the missing libraries
        onnxruntime.preload_dlls()
    driver_cuda, capability = _driver_versions()
    tensorrt = _installed_majors(
        "libnvinfer.so", TENSORRT, range(TENSORRT + 1, TENSORRT + 3), _wheel_folder("tensorrt_libs")
    )
    if TENSORRT in tensorrt:
        _load_library(f"libnvonnxparser.so.{TENSORRT}", _wheel_folder("tensorrt_libs"))
    return GpuStack(
        onnxruntime=onnxruntime.__version__,
        driver_cuda=driver_cuda,
        cuda=_installed_majors("libcudart.so", CUDA, (CUDA - 2, CUDA - 1, CUDA + 1)),
        cudnn=_installed_majors("libcudnn.so", CUDNN, (CUDNN - 1, CUDNN + 1)),
        tensorrt=tensorrt,
        tensorrt_version=_tensorrt_version(),
        capability=capability,
    )


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _wheel_folder(module: str) -> Path | None:
    """Return the folder of a wheel that contains libraries; None if it is not installed."""
    spec = find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None


def _load_library(name: str, folder: Path | None = None) -> ctypes.CDLL | None:
    """Load a library from `folder`, else from the system's paths; None if it is in neither."""
    for path in ([str(folder / name)] if folder else []) + [name]:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    return None


def _installed_majors(
    library: str, needed: int, others: Iterable[int], folder: Path | None = None
) -> frozenset[int]:
    """Return the installed major versions of a library.

    `others` are loaded only if `needed` is missing, because their functions would hide those of `needed`.
    """
    if _load_library(f"{library}.{needed}", folder):
        return frozenset({needed})
    return frozenset(major for major in others if _load_library(f"{library}.{major}", folder))


def _driver_versions() -> tuple[tuple[int, int] | None, str | None]:
    """Return the newest CUDA version of the driver and the compute capability of the first GPU."""
    driver = _load_library("libcuda.so.1")
    if driver is None or driver.cuInit(0) != 0:
        return None, None
    version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, 0)
    return (version.value // 1000, version.value % 1000 // 10), f"{major.value}.{minor.value}"


def _tensorrt_version() -> str | None:
    """Return the full version of TensorRT; None if it is not installed."""
    library = _load_library(f"libnvinfer.so.{TENSORRT}", _wheel_folder("tensorrt_libs"))
    try:
        number = int(library.getInferLibVersion()) if library else None
    except AttributeError:  # another library of that name
        return None
    # major · 10000 + minor · 100 + patch since TensorRT 10
    return None if number is None else f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
