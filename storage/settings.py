"""Settings of S3: where it is, which buckets may be read."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from schemas.settings import Settings


class S3Settings(Settings):
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
