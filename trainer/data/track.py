"""A labelled track, and the splits. Does not import torch, so that the command line can import it fast."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

SPLIT_SHARES: Mapping[Split, float] = {"train": 0.7, "valid": 0.1, "test": 0.2}
"""Share of the tracks in each split that `trainer.data.splits` assigns. Stated by the paper."""


class Track(BaseModel):
    """One row of a manifest. Other columns are ignored. Paths are relative to the manifest's folder."""

    model_config = ConfigDict(frozen=True)

    track_id: str = Field(
        min_length=1, coerce_numbers_to_str=True, description="Identifier, unique in the manifest."
    )
    audio: str = Field(min_length=1, description="Path or s3:// URL of the audio file.")
    lyrics: str | None = Field(
        None, description="Path or s3:// URL of a .txt or .lrc file, or the lyrics themselves; None if none."
    )
    genres: tuple[str, ...] = Field(
        min_length=1, description="Genre slugs. A manifest may also hold names, which are turned into slugs."
    )
    artist: str | None = Field(
        None,
        description="Name of the artist; None if unknown. Tracks without an artist are each treated as a "
        "different artist when splitting.",
    )
    language: str | None = Field(None, description="BCP 47 tag of the lyrics' language; None if unknown.")
    split: Split | None = Field(None, description="Split of the track; None until splits are assigned.")

    @field_validator("lyrics", "artist", "language", "split", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("genres", mode="before")
    @classmethod
    def _parse_list(cls, value: Any) -> Any:
        """Accept a list, a JSON list in a string, or names separated by `|`."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                raise ValueError(f"{value} is not a JSON list") from None
        return [name.strip() for name in value.split("|") if name.strip()]
