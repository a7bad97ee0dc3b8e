"""Settings of the service: `COGENRE_*` environment variables. docs/settings.md is generated from them."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from schemas.bundle import Precision
from schemas.settings import Settings
from storage.settings import StorageSettings

DEMO_DATA = Path(__file__).parents[1] / "deploy" / "demo"
"""The demo's bundle and tracks. They exist in a clone, not in an installed package."""

Provider = Literal["cpu", "cuda", "tensorrt"]
LogFormat = Literal["text", "json"]
S3Urls = Annotated[str, Field(pattern=r"^s3://[^,]+(, *s3://[^,]+)*$")]


class CatalogSettings(Settings):
    """The catalog."""

    catalog_url: SecretStr = Field(
        description="PostgreSQL URL, `postgresql://user:password@host:5432/database`."
    )


class BrokerSettings(Settings):
    """The queue of jobs."""

    broker_url: SecretStr = Field(description="Redis URL, `redis://:password@host:6379/0`.")
    deployment: str = Field(
        default="cogenre",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Prefix of Redis keys. Deployments that share a broker need different ones.",
    )
    visibility_timeout: float = Field(
        default=120,
        ge=5,
        description="Seconds after which the job of a worker that died is delivered to another worker.",
    )


class ModelSettings(Settings):
    """The model and the device that it runs on."""

    bundle: Path | S3Urls = Field(
        description="Folder of a model bundle, or folder of several bundles. Or the URL that "
        "`cogenre-export push` printed, `s3://bucket/prefix/name/version`, or several URLs, "
        "separated by commas."
    )
    bundle_cache: Path | None = Field(
        default=None, description="Folder for downloaded bundles; unset = `~/.cache/cogenre`."
    )
    provider: Provider = Field(
        default="cpu", description="Execution provider of ONNX Runtime. It is never replaced silently."
    )
    precision: Precision = Field(
        default="fp32", description="Precision of the graph to load from the bundle."
    )
    windows: int | None = Field(
        default=None, gt=0, description="Windows of a track that are classified; unset = as in the bundle."
    )
    threads: int | None = Field(
        default=None,
        gt=0,
        description="CPU threads of the model; unset = all CPUs that the container may use.",
    )
    batch_rows: int = Field(default=16, gt=0, description="Maximum windows in a batch of the model.")
    cpu_fallback: bool = Field(
        default=False,
        description="Whether the model runs on the CPU, with a warning, if the provider does not start.",
    )
    gpu_memory_bytes: int | None = Field(
        default=None, gt=0, description="Maximum bytes of CUDA's memory arena; unset = all memory of the GPU."
    )
    engine_cache: Path | None = Field(
        default=None, description="Folder of TensorRT engines; unset = `~/.cache/cogenre/engines`."
    )
    engine_seconds: float = Field(
        default=1800,
        gt=0,
        description="Maximum seconds to build an engine, including the wait for builds of other processes.",
    )
    engine_context: bool = Field(
        default=False,
        description="Whether engines load through an EP-context model: faster starts, separate engines.",
    )


class ObserveSettings(Settings):
    """Logs, metrics and probes. Spans are sent to OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    log_format: LogFormat = Field(
        default="text", description="Format of the log on stderr. Each record is one line."
    )
    http_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of `/metrics`, `/livez` and `/readyz`, on all addresses; unset = no HTTP server.",
    )


class WorkerSettings(CatalogSettings, BrokerSettings, StorageSettings, ModelSettings, ObserveSettings):
    """All settings of `cogenre worker`."""

    concurrency: int = Field(default=16, gt=0, description="Jobs that are processed at the same time.")
    batch_tokens: int = Field(
        default=8192, gt=0, description="Maximum lyrics tokens in a batch of the model, padding included."
    )
    track_seconds: float = Field(
        default=900,
        gt=0,
        description="Seconds after which a track that no model has started on is postponed.",
    )
    transient_seconds: float = Field(
        default=60,
        gt=0,
        description="Seconds to retry requests to S3 or the catalog before the track is postponed.",
    )
    max_attempts: int = Field(
        default=8,
        gt=0,
        description="Attempts of a track whose worker dies or for which S3 does not answer; then it fails.",
    )
    decoders: int | None = Field(
        default=None, gt=0, description="Decode processes; unset = one per CPU that may be used."
    )
    decode_seconds: float = Field(default=60, gt=0, description="Maximum seconds to decode a track.")
    decode_memory_bytes: int = Field(
        default=2 * 2**30,
        gt=0,
        description="Maximum bytes to decode a track, in addition to the memory of the idle decode process.",
    )
    max_memory_bytes: int | None = Field(
        default=None,
        gt=0,
        description="Resident bytes above which the worker finishes its jobs and ends; unset = no limit.",
    )
    drain_seconds: float = Field(
        default=300,
        gt=0,
        description="Maximum seconds to finish jobs after SIGTERM. Other workers get the unfinished ones.",
    )


def bundle_or_demo(bundle: str | None) -> str:
    """Return `bundle` if it is given, else COGENRE_BUNDLE, else the demo's bundle."""
    return bundle or os.environ.get("COGENRE_BUNDLE") or str(DEMO_DATA / "bundle")
