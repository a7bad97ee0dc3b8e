"""Settings of S3: its endpoint and the buckets that may be read."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from schemas.settings import Settings


class S3Settings(Settings):
    """The S3 endpoint. boto3 finds the credentials, for example in `AWS_ACCESS_KEY_ID`."""

    s3_endpoint_url: str | None = Field(
        default=None,
        description="URL of an S3-compatible server. Unset = AWS, or boto3's `AWS_ENDPOINT_URL_S3`.",
    )


class StorageSettings(S3Settings):
    """The buckets of audio and lyrics, and the maximum size of an audio file."""

    buckets: Annotated[tuple[str, ...], NoDecode] = Field(
        min_length=1,
        description="Buckets that may be read, comma-separated. Jobs that name other buckets fail.",
    )
    max_audio_bytes: int = Field(
        default=256 * 2**20, gt=0, description="Maximum size of an audio file in bytes. Larger files fail."
    )

    @field_validator("buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )
