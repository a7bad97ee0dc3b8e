"""An ONNX Runtime session on exactly the provider that was asked for."""

import os
from pathlib import Path
from typing import Any

import onnxruntime

from worker.errors import ConfigError
from worker.settings import Provider

PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def open_session(graph: Path, provider: Provider, threads: int | None) -> onnxruntime.InferenceSession:
    """Raises ConfigError where the provider is not installed, does not start or the graph does not load.

    ONNX Runtime itself would fall back to the CPU without a word.
    """
    name = PROVIDERS[provider]
    if name not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"provider {provider} is not in the installed ONNX Runtime: install cogenre's extra `gpu`, "
            "or set COGENRE_PROVIDER=cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers: list[Any] = [name] if provider == "cpu" else [name, PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own classes have no common base but this
        raise ConfigError(f"{graph.name} does not load with provider {provider}: {error}") from error
    if session.get_providers()[0] != name:
        raise ConfigError(
            f"provider {provider} did not start (ONNX Runtime fell back to {session.get_providers()[0]}): "
            "check the driver, CUDA and cuDNN, or set COGENRE_PROVIDER=cpu"
        )
    return session


def available_cpus() -> int:
    """CPUs that this process may use. ONNX Runtime knows the affinity and ignores the container's quota."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
    except OSError:
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))
