"""Builds and caches TensorRT engines, each in a folder named by a hash of everything that it depends on.

```
absent ──lock──► built in a temporary folder ──rename──► cached, never changed
                      │ error or timeout
                      └──► removed
```

A build takes minutes and cannot be interrupted, so it runs in a separate process. ONNX Runtime does not
detect that a cached engine was built for another model, TensorRT version or GPU (onnxruntime #22244). The
hash in the folder's name prevents that.
"""

import contextlib
import hashlib
import json
import logging
import mmap
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.bundle import INPUTS, BundleManifest, Precision
from schemas.errors import ConfigError
from storage.atomic import lock_folder
from storage.errors import OutputError
from worker.errors import ProviderUnavailable
from worker.models.gpu import GpuStack
from worker.parent_death import bind_to_this_process

log = logging.getLogger(__name__)

TIMING_FOLDER = "timing"
"""Folder of TensorRT's kernel timings. They shorten the next build."""

CONTEXT_FILE = "model_ctx.onnx"
"""A graph of one node that refers to the engine, so that a start need not parse the whole graph."""

UNSUPPORTED_OPERATOR = "NonZero"
"""Operator whose output shape depends on the data. In an engine, shapes may depend only on the input
shapes."""

BUILDER = (sys.executable, "-m", "worker.models.tensorrt_build")

Shapes = dict[str, tuple[int, ...]]
"""Shapes of the graph's inputs, by name."""


@dataclass(frozen=True)
class Profile:
    """The range of shapes of an engine. A shape outside it would cause a new build, which takes minutes."""

    min_shape: Shapes
    opt_shape: Shapes
    """The shape that TensorRT selects kernels for."""
    max_shape: Shapes


@dataclass(frozen=True)
class EnginePlan:
    """Everything that an engine depends on."""

    graph_sha256: str
    precision: Precision
    profile: Profile
    context: bool
    """Whether an EP-context model is written next to the engine."""
    onnxruntime: str
    tensorrt: str
    capability: str
    """Compute capability of the GPU."""
    tf32: bool = False
    """Whether fp32 products are rounded to ten bits. `worker.models.gpu` turns that off."""

    @property
    def key(self) -> str:
        """Name of the engine's folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]

    @property
    def timing(self) -> str:
        """Name of the folder of timings that other builds may use."""
        return f"{TIMING_FOLDER}-{self.onnxruntime}-{self.tensorrt}-{self.capability}"


@dataclass(frozen=True)
class Engine:
    """A cached engine."""

    folder: Path
    built: bool
    """Whether this call built it."""


def make_profile(manifest: BundleManifest, rows: int) -> Profile:
    """Return the shapes from one window and the shortest bucket to `rows` windows and the longest."""
    buckets = manifest.lyrics.buckets

    def shapes(batch: int, tokens: int) -> Shapes:
        return dict(
            zip(INPUTS, ((batch, manifest.audio.window_samples), *[(batch, tokens)] * 2), strict=True)
        )

    return Profile(
        min_shape=shapes(1, buckets[0]),
        opt_shape=shapes(rows, buckets[len(buckets) // 2]),
        max_shape=shapes(rows, buckets[-1]),
    )


def make_plan(
    manifest: BundleManifest, precision: Precision, rows: int, context: bool, stack: GpuStack
) -> EnginePlan:
    """Return the plan of a bundle's graph on this machine."""
    return EnginePlan(
        graph_sha256=manifest.files[manifest.graphs[precision]],
        precision=precision,
        profile=make_profile(manifest, rows),
        context=context,
        onnxruntime=stack.onnxruntime,
        tensorrt=stack.tensorrt_version or "unknown",
        capability=stack.capability or "unknown",
    )


def tensorrt_options(plan: EnginePlan, folder: Path, timing: Path | None = None) -> dict[str, str]:
    """Return the options of TensorRT's provider to use the engine in `folder`.

    `timing`: the folder of timings; if given, the options build the engine instead.
    """
    options = {
        "trt_profile_min_shapes": _format_shapes(plan.profile.min_shape),
        "trt_profile_opt_shapes": _format_shapes(plan.profile.opt_shape),
        "trt_profile_max_shapes": _format_shapes(plan.profile.max_shape),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        # A captured graph returned the first input's result for every later one (onnxruntime #20050).
        "trt_cuda_graph_enable": "0",
    }
    if timing:
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(timing)}
        if plan.context:
            # The context model refers to the engine by a relative path; an absolute one is rejected.
            del options["trt_engine_cache_path"]
            options |= {
                "trt_dump_ep_context_model": "1",
                "trt_ep_context_file_path": str(folder / CONTEXT_FILE),
                "trt_ep_context_embed_mode": "0",
            }
    return options


def reject_unsupported_graph(graph: Path) -> None:
    """Raise ProviderUnavailable if the graph contains `UNSUPPORTED_OPERATOR`, at which TensorRT fails."""
    # Searches for the encoded name of the operator, so that the worker needs no ONNX parser.
    node = b"\x22" + bytes([len(UNSUPPORTED_OPERATOR)]) + UNSUPPORTED_OPERATOR.encode()
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(node) >= 0:
            raise ProviderUnavailable(
                f"TensorRT cannot build an engine of {graph.name}: it contains the operator "
                f"{UNSUPPORTED_OPERATOR} (set COGENRE_PRECISION=fp16, or COGENRE_PROVIDER=cuda)"
            )


def provide_engine(
    plan: EnginePlan, graph: Path, cache: Path, seconds: float, builder: Sequence[str] = BUILDER
) -> Engine:
    """Return the cached engine of a plan; build it if it is missing.

    `seconds`: time limit, waiting for builds of other processes included. Raises ConfigError.
    """
    folder = cache / plan.key
    if folder.is_dir():
        return Engine(folder, built=False)
    deadline = time.monotonic() + seconds
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # One lock for all engines: creating two sessions at the same time crashes (onnxruntime #20089).
        with _hold_cache_lock(cache, deadline, seconds):
            if folder.is_dir():  # built by another process in the meantime
                return Engine(folder, built=False)
            log.info("building a TensorRT engine in %s: takes minutes, at most %g s", cache, seconds)
            _remove_leftovers(cache)
            with tempfile.TemporaryDirectory(prefix=".building-", dir=cache) as temporary:
                _build(plan, graph, cache, Path(temporary), builder, deadline, seconds)
    except OSError as error:
        raise ConfigError(
            f"cannot write engines to {cache} ({error.strerror or error}): set COGENRE_ENGINE_CACHE"
        ) from error
    return Engine(folder, built=True)


def _build(
    plan: EnginePlan,
    graph: Path,
    cache: Path,
    temporary: Path,
    builder: Sequence[str],
    deadline: float,
    seconds: float,
) -> None:
    """Build an engine in `temporary` and move it, with the timings, to the cache."""
    # A build that is killed may leave an incomplete file of timings, so it works on a copy.
    timing, cached_timing = temporary / TIMING_FOLDER, cache / plan.timing
    shutil.copytree(cached_timing, timing) if cached_timing.is_dir() else timing.mkdir()
    built_folder = temporary / plan.key
    built_folder.mkdir()
    request = {
        "graph": str(graph),
        "options": tensorrt_options(plan, built_folder, timing),
        "shapes": [plan.profile.min_shape, plan.profile.max_shape],
    }
    try:
        completed = subprocess.run(  # noqa: S603 - a fixed command
            bind_to_this_process(builder),
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=max(0.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"the TensorRT engine was not built in {seconds:g} s: allow more time with COGENRE_ENGINE_SECONDS"
        ) from None
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or [f"exit code {completed.returncode}"]
        raise ConfigError(f"the TensorRT engine cannot be built: {lines[-1]}")
    if not ((built_folder / CONTEXT_FILE).exists() if plan.context else any(built_folder.iterdir())):
        raise ConfigError(
            "TensorRT built no engine of this graph: check its operators, or set COGENRE_PROVIDER=cuda"
        )
    cached_timing.mkdir(exist_ok=True)
    for file in timing.iterdir():
        file.replace(cached_timing / file.name)
    built_folder.rename(cache / plan.key)


@contextlib.contextmanager
def _hold_cache_lock(cache: Path, deadline: float, seconds: float) -> Iterator[None]:
    """Hold the cache's lock. Raises ConfigError at the deadline, or if the cache cannot be locked."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(cache, max(0.0, deadline - time.monotonic())))
        except TimeoutError:
            raise ConfigError(
                f"another process was building a TensorRT engine in {cache} for {seconds:g} s: wait until "
                "it has finished, or allow more time with COGENRE_ENGINE_SECONDS"
            ) from None
        except OutputError as error:
            raise ConfigError(f"{error} (COGENRE_ENGINE_CACHE)") from error
        yield


def _remove_leftovers(cache: Path) -> None:
    """Remove the folders of killed builds. The lock is held, so no build is running."""
    for leftover in cache.glob(".building-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _format_shapes(shapes: Shapes) -> str:
    """Return shapes in the format of TensorRT's provider: `name:1x80,other:1x16`."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
