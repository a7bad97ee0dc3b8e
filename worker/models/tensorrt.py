"""TensorRT engines, built ahead of time and kept by all that they depend on.

```
absent ──lock──► built in a temporary folder ──rename──► there, never changed
                      │ fails, or takes too long
                      └──► removed
```

A build takes minutes and cannot be interrupted from within, so a process of its own does it. ONNX Runtime
does not notice that a kept engine is of another model, TensorRT or GPU (onnxruntime #22244): hence the
folder's name.
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
"""TensorRT's measurements of single kernels. They make the next build shorter."""

CONTEXT_FILE = "model_ctx.onnx"
"""A graph of one node, which holds the place of an engine: starts need not parse the whole graph."""

NO_ENGINE = "NonZero"
"""How many it finds depends on the data, and an engine is of the shapes of inputs."""

BUILDER = (sys.executable, "-m", "worker.models.tensorrt_build")

Shapes = dict[str, tuple[int, ...]]
"""Of the graph's inputs, by name."""


@dataclass(frozen=True)
class Profile:
    """The shapes that an engine runs. Another one would be built anew, for minutes, at the first track."""

    least: Shapes
    usual: Shapes
    """What TensorRT chooses its kernels for."""
    most: Shapes


@dataclass(frozen=True)
class EnginePlan:
    """All that an engine depends on."""

    graph_sha256: str
    precision: Precision
    profile: Profile
    context: bool
    """Whether an EP-context model is written beside the engine."""
    onnxruntime: str
    tensorrt: str
    capability: str
    """The GPU's compute capability."""
    tf32: bool = False
    """Whether fp32 products are rounded to ten bits; `worker.models.gpu` turns it off."""

    @property
    def key(self) -> str:
        """Names the engine's folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]

    @property
    def timing(self) -> str:
        """Names the folder of measurements that may be used again."""
        return f"{TIMING_FOLDER}-{self.onnxruntime}-{self.tensorrt}-{self.capability}"


@dataclass(frozen=True)
class Engine:
    """An engine in the cache."""

    folder: Path
    built: bool
    """Whether it has just been built."""


def profile_of(manifest: BundleManifest, rows: int) -> Profile:
    """One window and the shortest bucket, to `rows` windows and the longest."""
    buckets = manifest.lyrics.buckets

    def shapes(batch: int, tokens: int) -> Shapes:
        return dict(
            zip(INPUTS, ((batch, manifest.audio.window_samples), *[(batch, tokens)] * 2), strict=True)
        )

    return Profile(
        least=shapes(1, buckets[0]),
        usual=shapes(rows, buckets[len(buckets) // 2]),
        most=shapes(rows, buckets[-1]),
    )


def plan_of(
    manifest: BundleManifest, precision: Precision, rows: int, context: bool, found: GpuStack
) -> EnginePlan:
    """For this bundle's graph on this machine."""
    return EnginePlan(
        graph_sha256=manifest.files[manifest.graphs[precision]],
        precision=precision,
        profile=profile_of(manifest, rows),
        context=context,
        onnxruntime=found.onnxruntime,
        tensorrt=found.tensorrt_version or "unknown",
        capability=found.capability or "unknown",
    )


def tensorrt_options(plan: EnginePlan, folder: Path, timing: Path | None = None) -> dict[str, str]:
    """Options of TensorRT's provider, to use the engine in `folder` or, with `timing`, to build it there."""
    options = {
        "trt_profile_min_shapes": _written(plan.profile.least),
        "trt_profile_opt_shapes": _written(plan.profile.usual),
        "trt_profile_max_shapes": _written(plan.profile.most),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        # A captured graph returned the first input's result for ever (onnxruntime #20050).
        "trt_cuda_graph_enable": "0",
    }
    if timing:
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(timing)}
        if plan.context:
            # The engine lies beside the context model, which names it: an absolute path would be refused.
            del options["trt_engine_cache_path"]
            options |= {
                "trt_dump_ep_context_model": "1",
                "trt_ep_context_file_path": str(folder / CONTEXT_FILE),
                "trt_ep_context_embed_mode": "0",
            }
    return options


def refuse_without_engine(graph: Path) -> None:
    """Raise ProviderUnavailable for a graph with an operator that TensorRT has no engine of."""
    # A node's operator as the format writes it: the worker need not understand graphs.
    node = b"\x22" + bytes([len(NO_ENGINE)]) + NO_ENGINE.encode()
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(node) >= 0:
            raise ProviderUnavailable(
                f"TensorRT has no engine of {graph.name}, because of its operator {NO_ENGINE}: "
                "set COGENRE_PRECISION=fp16, or COGENRE_PROVIDER=cuda"
            )


def engine_of(
    plan: EnginePlan, graph: Path, cache: Path, seconds: float, builder: Sequence[str] = BUILDER
) -> Engine:
    """The engine of a plan, built if it is not there, in at most `seconds`; waiting for others is included.

    Raises ConfigError.
    """
    folder = cache / plan.key
    if folder.is_dir():
        return Engine(folder, built=False)
    deadline = time.monotonic() + seconds
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # One lock for all engines: creating two sessions at the same time crashes (onnxruntime #20089).
        with _locked(cache, deadline, seconds):
            if folder.is_dir():  # while we waited
                return Engine(folder, built=False)
            log.info("building a TensorRT engine in %s, which takes minutes", cache)
            _remove_leftovers(cache)
            with tempfile.TemporaryDirectory(prefix=".building-", dir=cache) as temporary:
                _build(plan, graph, cache, Path(temporary), builder, deadline, seconds)
    except OSError as error:
        raise ConfigError(
            f"cannot keep engines in {cache} ({error.strerror or error}): set COGENRE_ENGINE_CACHE"
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
    # A build that is killed may leave half a file of measurements: it works on a copy.
    timing, kept = temporary / TIMING_FOLDER, cache / plan.timing
    shutil.copytree(kept, timing) if kept.is_dir() else timing.mkdir()
    made = temporary / plan.key
    made.mkdir()
    order = {
        "graph": str(graph),
        "options": tensorrt_options(plan, made, timing),
        "shapes": [plan.profile.least, plan.profile.most],
    }
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours
            bind_to_this_process(builder),
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=max(0.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"the TensorRT engine was not built in {seconds:g} s: give it more with COGENRE_ENGINE_SECONDS"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(f"the TensorRT engine cannot be built: {said[-1]}")
    if not ((made / CONTEXT_FILE).exists() if plan.context else any(made.iterdir())):
        raise ConfigError(
            "TensorRT built no engine of this graph: check its operators, or set COGENRE_PROVIDER=cuda"
        )
    kept.mkdir(exist_ok=True)
    for file in timing.iterdir():
        file.replace(kept / file.name)
    made.rename(cache / plan.key)


@contextlib.contextmanager
def _locked(cache: Path, deadline: float, seconds: float) -> Iterator[None]:
    """Hold the cache's lock. Raises ConfigError at the deadline, and where the cache cannot be locked."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(cache, max(0.0, deadline - time.monotonic())))
        except TimeoutError:
            raise ConfigError(
                f"another process was building a TensorRT engine in {cache} for {seconds:g} s: wait for "
                "it, or allow more time with COGENRE_ENGINE_SECONDS"
            ) from None
        except OutputError as error:
            raise ConfigError(f"{error} (COGENRE_ENGINE_CACHE)") from error
        yield


def _remove_leftovers(cache: Path) -> None:
    """Of builds that were killed: we hold the lock, so nobody is building."""
    for leftover in cache.glob(".building-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _written(shapes: Shapes) -> str:
    """As TensorRT's provider reads them: `name:1x80,other:1x16`."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
