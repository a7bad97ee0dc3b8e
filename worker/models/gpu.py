"""The NVIDIA libraries that are here, and those that ONNX Runtime was built for.

ONNX Runtime falls back to the CPU where one of them is of another version, and says so in a log line at most.
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

OLDEST_RUNTIME = (1, 27)
"""The first onnxruntime-gpu for CUDA 13. Older ones are for CUDA 12."""

CUDA, CUDNN, TENSORRT = 13, 9, 10
"""What it loads: `libcudart.so.13`, `libcudnn.so.9`, `libnvinfer.so.10`."""

DRIVER = "580"
"""The first NVIDIA driver for CUDA 13."""

CUDA_HINT = "pip install nvidia-cuda-runtime nvidia-cublas nvidia-cufft nvidia-curand"
CUDNN_HINT = "pip install nvidia-cudnn-cu13"
TENSORRT_HINT = 'pip install "tensorrt-cu13<11"'

TF32_OFF = {"NVIDIA_TF32_OVERRIDE": "0"}
"""NVIDIA's libraries read it when they load. fp32 is fp32: a bundle promises it to four digits."""

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute of the driver's API."""


@dataclass(frozen=True)
class GpuStack:
    """Versions that are found. What is not there is None or empty."""

    onnxruntime: str
    driver_cuda: tuple[int, int] | None
    """The newest CUDA that the driver speaks."""
    cuda: frozenset[int]
    """Major versions of its runtime: the needed one, or others where it is missing. So with the next two."""
    cudnn: frozenset[int]
    tensorrt: frozenset[int]
    tensorrt_version: str | None = None
    """In full, such as 10.13.3."""
    capability: str | None = None
    """Compute capability of the first GPU, such as 9.0."""


def complaint(found: GpuStack, provider: Provider) -> str | None:
    """What is wrong for a provider, and what to install; None where nothing is."""
    if provider == "cpu":
        return None
    if _release(found.onnxruntime) < OLDEST_RUNTIME:
        wanted = ".".join(map(str, OLDEST_RUNTIME))
        return (
            f"ONNX Runtime {found.onnxruntime} is for an older CUDA: {wanted} or newer is needed, "
            "install cogenre's extra `gpu`"
        )
    if found.driver_cuda is None:
        return f"no NVIDIA driver answers: install {DRIVER} or newer, or give the container a GPU"
    if found.driver_cuda[0] < CUDA:
        speaks = ".".join(map(str, found.driver_cuda))
        return f"the NVIDIA driver speaks CUDA {speaks}, {CUDA} is needed: install driver {DRIVER} or newer"
    libraries = [("CUDA", CUDA, found.cuda, CUDA_HINT), ("cuDNN", CUDNN, found.cudnn, CUDNN_HINT)]
    if provider == "tensorrt":
        libraries.append(("TensorRT", TENSORRT, found.tensorrt, TENSORRT_HINT))
    for name, needed, majors, hint in libraries:
        if needed not in majors:
            there = f"{name} {max(majors)} is installed" if majors else f"{name} is not found"
            return f"{there}, ONNX Runtime {found.onnxruntime} loads {name} {needed}: {hint}"
    return None


def gpu_stack() -> GpuStack:
    """What this process can load. Libraries out of wheels are then loaded, so that ONNX Runtime has them."""
    os.environ.update(TF32_OFF)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
        onnxruntime.preload_dlls()
    driver_cuda, capability = _driver()
    tensorrt = _majors("libnvinfer.so", TENSORRT, range(TENSORRT + 1, TENSORRT + 3), _wheel("tensorrt_libs"))
    if TENSORRT in tensorrt:
        _load(f"libnvonnxparser.so.{TENSORRT}", _wheel("tensorrt_libs"))
    return GpuStack(
        onnxruntime=onnxruntime.__version__,
        driver_cuda=driver_cuda,
        cuda=_majors("libcudart.so", CUDA, (CUDA - 2, CUDA - 1, CUDA + 1)),
        cudnn=_majors("libcudnn.so", CUDNN, (CUDNN - 1, CUDNN + 1)),
        tensorrt=tensorrt,
        tensorrt_version=_tensorrt_version(),
        capability=capability,
    )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _wheel(module: str) -> Path | None:
    """Folder of a wheel that holds libraries."""
    spec = find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None


def _load(name: str, folder: Path | None = None) -> ctypes.CDLL | None:
    for path in ([str(folder / name)] if folder else []) + [name]:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    return None


def _majors(library: str, needed: int, others: Iterable[int], folder: Path | None = None) -> frozenset[int]:
    """Others are looked for only where the needed one is missing: once loaded, they hide its functions."""
    if _load(f"{library}.{needed}", folder):
        return frozenset({needed})
    return frozenset(major for major in others if _load(f"{library}.{major}", folder))


def _driver() -> tuple[tuple[int, int] | None, str | None]:
    """The newest CUDA that the driver speaks, and the first GPU's compute capability."""
    driver = _load("libcuda.so.1")
    if driver is None or driver.cuInit(0) != 0:
        return None, None
    version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, 0)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, 0)
    return (version.value // 1000, version.value % 1000 // 10), f"{major.value}.{minor.value}"


def _tensorrt_version() -> str | None:
    library = _load(f"libnvinfer.so.{TENSORRT}", _wheel("tensorrt_libs"))
    try:
        number = int(library.getInferLibVersion()) if library else None
    except AttributeError:  # something else of that name
        return None
    # major · 10000 + minor · 100 + patch since TensorRT 10
    return None if number is None else f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
