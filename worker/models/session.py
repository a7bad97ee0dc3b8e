"""An ONNX Runtime session on exactly the provider that was asked for."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from media.cpus import available_cpus
from schemas.bundle import BundleManifest
from schemas.errors import ConfigError
from worker.errors import ProviderUnavailable
from worker.models.gpu import GpuStack, complaint, gpu_stack
from worker.models.tensorrt import CONTEXT_FILE, engine_of, plan_of, refuse_without_engine, tensorrt_options
from worker.settings import ModelSettings, Provider

log = logging.getLogger(__name__)

PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
SLOWER_ON_CPUS = ["SkipLayerNormFusion"]
"""Its operator takes longer than the two it stands for: 5 % of BERT's time (ONNX Runtime 1.32)."""
DEFAULT_CACHE = Path("~/.cache/cogenre/engines")


@dataclass(frozen=True)
class Opened:
    """A session, and what it runs on."""

    session: onnxruntime.InferenceSession
    provider: Provider


def open_session(bundle: Path, manifest: BundleManifest, settings: ModelSettings) -> Opened:
    """Raises ConfigError where the provider is not installed, does not start or the graph does not load.

    ONNX Runtime itself would fall back to the CPU without a word; this does so where the settings allow it.
    """
    try:
        return Opened(_on(settings.provider, bundle, manifest, settings), settings.provider)
    except ConfigError as error:
        if settings.provider == "cpu" or not settings.cpu_fallback:
            raise
        log.warning("on the CPU, as COGENRE_CPU_FALLBACK allows: %s", error)
        return Opened(_on("cpu", bundle, manifest, settings), "cpu")


def checked_stack(provider: Provider) -> GpuStack:
    """What a GPU needs, found and right. Raises ConfigError, naming what to install."""
    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise ProviderUnavailable(
            f"provider {provider} is not in the installed ONNX Runtime: install cogenre's extra `gpu`, "
            "or set COGENRE_PROVIDER=cpu"
        )
    found = gpu_stack()
    wrong = complaint(found, provider)
    if wrong:
        raise ProviderUnavailable(f"provider {provider} cannot run: {wrong}")
    return found


def built_engine(
    bundle: Path, manifest: BundleManifest, settings: ModelSettings
) -> tuple[Path, dict[str, str], bool]:
    """The graph to load, the options to load it with, and whether its engine was built just now.

    Raises ConfigError.
    """
    graph = bundle / graph_file("tensorrt", manifest, settings)
    found = checked_stack("tensorrt")
    refuse_without_engine(graph)
    plan = plan_of(manifest, settings.precision, settings.batch_rows, settings.engine_context, found)
    cache = settings.engine_cache or DEFAULT_CACHE.expanduser()
    engine = engine_of(plan, graph, cache, settings.engine_seconds)
    loaded = engine.folder / CONTEXT_FILE if plan.context else graph
    return loaded, tensorrt_options(plan, engine.folder), engine.built


def graph_file(provider: Provider, manifest: BundleManifest, settings: ModelSettings) -> str:
    """In the bundle, of the precision that is set. Raises ConfigError."""
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
    """Of CUDA's provider; the CPU's has none."""
    if provider == "cpu":
        return {}
    # The arena never shrinks (onnxruntime #22297), and an exhaustive search would run for every new shape.
    options = {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        # By default fp32 products are rounded to ten bits.
        "use_tf32": "0",
    }
    if settings.gpu_memory_bytes:
        options["gpu_mem_limit"] = str(settings.gpu_memory_bytes)
    return options


def _on(
    provider: Provider, bundle: Path, manifest: BundleManifest, settings: ModelSettings
) -> onnxruntime.InferenceSession:
    graph = bundle / graph_file(provider, manifest, settings)
    providers: list[Any] = [PROVIDERS["cpu"]]
    if provider != "cpu":
        providers.insert(0, (PROVIDERS["cuda"], provider_options("cuda", settings)))
        if provider == "cuda":
            checked_stack("cuda")
        else:
            graph, options, _ = built_engine(bundle, manifest, settings)
            providers.insert(0, (PROVIDERS["tensorrt"], options))
    session = new_session(graph, providers, settings.threads, provider)
    require_provider(session.get_providers(), provider)
    return session


def require_provider(got: list[str], wanted: Provider) -> None:
    """Raises ConfigError where a session runs on another provider first."""
    if got[0] != PROVIDERS[wanted]:
        raise ConfigError(
            f"provider {wanted} did not start (ONNX Runtime fell back to {got[0]}): "
            "check the driver, CUDA and cuDNN, or set COGENRE_PROVIDER=cpu"
        )


def new_session(
    graph: Path, providers: list[Any], threads: int | None, provider: Provider
) -> onnxruntime.InferenceSession:
    """A graph on what is first of `providers`, ONNX Runtime's own; `provider` is what messages call it.

    Raises ConfigError where it does not load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    options.inter_op_num_threads = 1
    # Its threads would spin while they wait, on CPUs that decoding needs: a tenth of a worker's throughput.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(graph),
            options,
            providers=providers,
            disabled_optimizers=SLOWER_ON_CPUS if provider == "cpu" else None,
        )
    except Exception as error:  # ONNX Runtime's own classes have no common base but this
        raise ConfigError(f"{graph.name} does not load with provider {provider}: {error}") from error
    # A provider that fails in the middle of a run would be replaced by the CPU without a word.
    session.disable_fallback()
    return session
