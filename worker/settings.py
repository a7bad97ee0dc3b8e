"""Settings of the service: `COGENRE_*` environment variables. docs/settings.md is made from this file."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.bundle import Precision
from worker.errors import ConfigError

DEMO_DATA = Path(__file__).parents[1] / "deploy" / "demo"
"""The demo's bundle and tracks: in a clone, not in an installed package."""

Provider = Literal["cpu", "cuda", "tensorrt"]
LogFormat = Literal["text", "json"]
S3Urls = Annotated[str, Field(pattern=r"^s3://[^,]+(, *s3://[^,]+)*$")]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="COGENRE_", frozen=True)

    @classmethod
    def load(cls, **given: Any) -> Self:
        """What is `given`, and the rest from the environment.

        Raises ConfigError, naming each variable that is missing or wrong.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            problems = "; ".join(
                f"{'COGENRE_' + str(part['loc'][0]).upper()}: {part['msg'].lower()}"
                for part in error.errors()
            )
            raise ConfigError(f"{problems} (`cogenre local` prints working settings to try)") from None


class CatalogSettings(_Settings):
    """Where the catalog is."""

    catalog_url: SecretStr = Field(
        description="PostgreSQL URL, `postgresql://user:password@host:5432/database`."
    )


class BrokerSettings(_Settings):
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


class S3Settings(_Settings):
    """Which S3. Credentials come from boto3's own places, such as `AWS_ACCESS_KEY_ID`."""

    s3_endpoint_url: str | None = Field(default=None, description="Of an S3-compatible server; unset = AWS.")


class StorageSettings(S3Settings):
    """Where audio and lyrics are."""

    buckets: Annotated[tuple[str, ...], NoDecode] = Field(
        min_length=1, description="Buckets that may be read, comma-separated. Jobs that name others fail."
    )
    max_audio_bytes: int = Field(default=256 * 2**20, gt=0, description="Larger audio files fail.")

    @field_validator("buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )


class ModelSettings(_Settings):
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


class ObserveSettings(_Settings):
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
