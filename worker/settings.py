"""Settings of the service: `COGENRE_*` environment variables. docs/settings.md is made from this file."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from schemas.bundle import Precision
from schemas.settings import Settings
from storage.settings import StorageSettings

DEMO_DATA = Path(__file__).parents[1] / "deploy" / "demo"
"""The demo's bundle and tracks: in a clone, not in an installed package."""

Provider = Literal["cpu", "cuda", "tensorrt"]
LogFormat = Literal["text", "json"]
S3Urls = Annotated[str, Field(pattern=r"^s3://[^,]+(, *s3://[^,]+)*$")]


class CatalogSettings(Settings):
    """Where the catalog is."""

    catalog_url: SecretStr = Field(
        description="PostgreSQL URL, `postgresql://user:password@host:5432/database`."
    )


class BrokerSettings(Settings):
    """Where jobs are queued."""

    broker_url: SecretStr = Field(description="Redis URL, `redis://:password@host:6379/0`.")
    deployment: str = Field(
        default="cogenre",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Names the Redis keys of messages in flight: own ones for each application on a broker.",
    )
    visibility_timeout: float = Field(
        default=120,
        ge=5,
        description="Seconds after which the job of a worker that died is delivered again.",
    )


class ModelSettings(Settings):
    """Which model runs, and on what."""

    bundle: Path | S3Urls = Field(
        description="Folder of the model bundle, or of several: shadows run beside the current model. Or "
        "`s3://bucket/prefix/name/version`, where `cogenre-export push` put one; several with commas between."
    )
    bundle_cache: Path | None = Field(
        default=None, description="Folder for bundles from S3; unset = `~/.cache/cogenre`."
    )
    provider: Provider = Field(
        default="cpu", description="ONNX Runtime's execution provider. Never replaced silently."
    )
    precision: Precision = Field(default="fp32", description="Which of the bundle's graphs.")
    windows: int | None = Field(
        default=None, gt=0, description="How many windows of a track are heard; unset = as the bundle says."
    )
    threads: int | None = Field(
        default=None, gt=0, description="CPU threads of the model; unset = those that the container may use."
    )
    batch_rows: int = Field(default=16, gt=0, description="Windows that the model takes at once, at most.")
    cpu_fallback: bool = Field(
        default=False,
        description="Whether the CPU stands in, with a warning, where the provider does not start.",
    )
    gpu_memory_bytes: int | None = Field(
        default=None, gt=0, description="Memory that CUDA's arena may take; unset = all of the GPU's."
    )
    engine_cache: Path | None = Field(
        default=None, description="Folder of TensorRT engines; unset = `~/.cache/cogenre/engines`."
    )
    engine_seconds: float = Field(
        default=1800,
        gt=0,
        description="How long building an engine may take, waiting for other processes that build included.",
    )
    engine_context: bool = Field(
        default=False,
        description="Whether engines are loaded by an EP-context model: faster starts, another engine.",
    )


class ObserveSettings(Settings):
    """How operators see a worker. Spans go where OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT` says."""

    log_format: LogFormat = Field(default="text", description="Of the log on stderr, one line a record.")
    http_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of `/metrics`, `/livez` and `/readyz`, on every address; unset = no server.",
    )


class WorkerSettings(CatalogSettings, BrokerSettings, StorageSettings, ModelSettings, ObserveSettings):
    """All that `cogenre worker` needs."""

    concurrency: int = Field(default=16, gt=0, description="Tracks on their way at once.")
    batch_tokens: int = Field(
        default=8192, gt=0, description="Lyrics tokens that it takes at once, at most, padding included."
    )
    track_seconds: float = Field(
        default=900,
        gt=0,
        description="A track that has not reached the model by then is tried again later.",
    )
    transient_seconds: float = Field(
        default=60,
        gt=0,
        description="How long S3 or the catalog may fail before a track is tried again later.",
    )
    max_attempts: int = Field(
        default=8,
        gt=0,
        description="How often a track is tried whose worker dies, or for which S3 does not answer.",
    )
    decoders: int | None = Field(
        default=None, gt=0, description="Processes that decode; unset = as many as CPUs that may be used."
    )
    decode_seconds: float = Field(default=60, gt=0, description="How long decoding a track may take.")
    decode_memory_bytes: int = Field(
        default=2 * 2**30,
        gt=0,
        description="Memory that decoding a track may take, beyond that of its process.",
    )
    max_memory_bytes: int | None = Field(
        default=None,
        gt=0,
        description="Above so much memory the worker drains and ends, for its supervisor to restart.",
    )
    drain_seconds: float = Field(
        default=300,
        gt=0,
        description="How long after SIGTERM tracks under way may take; then others get their jobs.",
    )


def bundle_or_demo(bundle: str | None) -> str:
    """`bundle`, else the one that the settings name, else the demo's."""
    return bundle or os.environ.get("COGENRE_BUNDLE") or str(DEMO_DATA / "bundle")
