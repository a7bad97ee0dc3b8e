"""An ONNX Runtime session on exactly the requested execution provider."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from media.cpus import available_cpus
from schemas.bundle import BundleManifest
from schemas.errors import ConfigError
from worker.errors import ProviderUnavailable
from worker.models.gpu import GpuStack, find_problem, load_gpu_stack
from worker.models.tensorrt import (
    CONTEXT_FILE,
    make_plan,
    provide_engine,
    reject_unsupported_graph,
    tensorrt_options,
)
from worker.settings import ModelSettings, Provider

log = logging.getLogger(__name__)

PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
SLOWER_ON_CPUS = ["SkipLayerNormFusion"]
"""Graph optimizers that are disabled on CPUs. The operator that this one inserts is slower than the two that
it replaces, by 5 % of BERT's time (ONNX Runtime 1.32)."""
DEFAULT_CACHE = Path("~/.cache/cogenre/engines")


@dataclass(frozen=True)
class OpenedSession:
    """A session and the provider that it runs on."""

    session: onnxruntime.InferenceSession
    provider: Provider


def open_session(bundle: Path, manifest: BundleManifest, settings: ModelSettings) -> OpenedSession:
    """Return a session for the bundle's graph on the configured provider.

    Falls back to the CPU only if COGENRE_CPU_FALLBACK is set, and logs a warning. (ONNX Runtime itself falls
    back silently.) Raises ConfigError if the provider is not installed or does not start, or if the graph
    does not load.
    """
    try:
        return OpenedSession(
            _open_on_provider(settings.provider, bundle, manifest, settings), settings.provider
        )
    except ConfigError as error:
        if settings.provider == "cpu" or not settings.cpu_fallback:
            raise
        log.warning("the model runs on the CPU, because COGENRE_CPU_FALLBACK is set: %s", error)
        return OpenedSession(_open_on_provider("cpu", bundle, manifest, settings), "cpu")


def require_gpu_stack(provider: Provider) -> GpuStack:
    """Return the installed GPU libraries. Raises ConfigError if the provider cannot run with them."""
    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise ProviderUnavailable(
            f"provider {provider} is not in the installed ONNX Runtime: install cogenre's extra `gpu`, "
            "or set COGENRE_PROVIDER=cpu"
        )
    stack = load_gpu_stack()
    if problem := find_problem(stack, provider):
        raise ProviderUnavailable(f"provider {provider} cannot run: {problem}")
    return stack


def prepare_engine(
    bundle: Path, manifest: BundleManifest, settings: ModelSettings
) -> tuple[Path, dict[str, str], bool]:
    """Return the graph to load, TensorRT's options, and whether the engine was built by this call.

    Raises ConfigError.
    """
    graph = bundle / find_graph("tensorrt", manifest, settings)
    stack = require_gpu_stack("tensorrt")
    reject_unsupported_graph(graph)
    plan = make_plan(manifest, settings.precision, settings.batch_rows, settings.engine_context, stack)
    cache = settings.engine_cache or DEFAULT_CACHE.expanduser()
    engine = provide_engine(plan, graph, cache, settings.engine_seconds)
    loaded = engine.folder / CONTEXT_FILE if plan.context else graph
    return loaded, tensorrt_options(plan, engine.folder), engine.built


def find_graph(provider: Provider, manifest: BundleManifest, settings: ModelSettings) -> str:
    """Return the file name of the graph with the configured precision. Raises ConfigError."""
    if provider != "cpu" and settings.precision == "int8":
        raise ConfigError("int8 graphs have no GPU kernels: set COGENRE_PRECISION to fp32 or fp16")
    graph = manifest.graphs.get(settings.precision)
    if graph is None:
        raise ConfigError(
            f"bundle {manifest.label} has no {settings.precision} graph: set COGENRE_PRECISION "
            f"to one of {', '.join(manifest.graphs)}"
        )
    return graph


def provider_options(provider: Provider, settings: ModelSettings) -> dict[str, str]:
    """Return the options of CUDA's provider; the CPU's has none."""
    if provider == "cpu":
        return {}
    # The arena never shrinks (onnxruntime #22297). An exhaustive search would run again for every new shape.
    options = {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        # TF32 would round fp32 products to ten bits.
        "use_tf32": "0",
    }
    if settings.gpu_memory_bytes:
        options["gpu_mem_limit"] = str(settings.gpu_memory_bytes)
    return options


def _open_on_provider(
    provider: Provider, bundle: Path, manifest: BundleManifest, settings: ModelSettings
) -> onnxruntime.InferenceSession:
    graph = bundle / find_graph(provider, manifest, settings)
    providers: list[Any] = [PROVIDERS["cpu"]]
    if provider != "cpu":
        providers.insert(0, (PROVIDERS["cuda"], provider_options("cuda", settings)))
        if provider == "cuda":
            require_gpu_stack("cuda")
        else:
            graph, options, _ = prepare_engine(bundle, manifest, settings)
            providers.insert(0, (PROVIDERS["tensorrt"], options))
    session = new_session(graph, providers, settings.threads, provider)
    require_provider(session.get_providers(), provider)
    return session


def require_provider(actual: list[str], requested: Provider) -> None:
    """Raise ConfigError if another provider than the requested one comes first in a session's providers."""
    if actual[0] != PROVIDERS[requested]:
        raise ConfigError(
            f"provider {requested} did not start (ONNX Runtime fell back to {actual[0]}): "
            "check the driver, CUDA and cuDNN, or set COGENRE_PROVIDER=cpu"
        )


def new_session(
    graph: Path, providers: list[Any], threads: int | None, provider: Provider
) -> onnxruntime.InferenceSession:
    """Return a session for a graph, with `providers` in ONNX Runtime's own format.

    `provider`: the name of the first provider in the settings, for messages.
    Raises ConfigError if the graph does not load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    options.inter_op_num_threads = 1
    # Spinning threads would use CPUs that decoding needs, which costs a tenth of a worker's throughput.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(graph),
            options,
            providers=providers,
            disabled_optimizers=SLOWER_ON_CPUS if provider == "cpu" else None,
        )
    except Exception as error:  # ONNX Runtime's exceptions have no narrower common base class
        raise ConfigError(f"{graph.name} does not load with provider {provider}: {error}") from error
    # Otherwise a provider that fails during a run is silently replaced by the CPU.
    session.disable_fallback()
    return session
