"""Labelled tracks, and what the network gets of each."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from media.lyrics import clean_lyrics, read_lyrics
from schemas.bundle import Genre
from trainer.data.files import is_url, read_bytes, version_of
from trainer.errors import UnreadableFile
from trainer.features.cache import key_of

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

LYRICS_FILES = (".txt", ".lrc")
"""What ends like this is the path of the lyrics; what does not is the lyrics themselves."""


class Track(BaseModel):
    """One row of a manifest; other columns are passed over. Paths are relative to the manifest."""

    model_config = ConfigDict(frozen=True)

    track_id: str = Field(min_length=1, coerce_numbers_to_str=True, description="Anything unique.")
    audio: str = Field(min_length=1, description="A path or an s3:// URL.")
    lyrics: str | None = Field(
        None, description="A path, an s3:// URL or the words; None where there are none."
    )
    genres: tuple[str, ...] = Field(min_length=1, description="Slugs once read; names in the file will do.")
    artist: str | None = Field(None, description="None where unknown: then nobody else's track is theirs.")
    language: str | None = Field(None, description="Of the lyrics, as in BCP 47; None where unknown.")
    split: Split | None = None

    @field_validator("lyrics", "artist", "language", "split", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("genres", mode="before")
    @classmethod
    def _list_or_string(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                raise ValueError(f"{value} is not a JSON list") from None
        return [name.strip() for name in value.split("|") if name.strip()]


@dataclass(frozen=True)
class Library:
    """Tracks and their genres. Every track has a split, artists are in one split only."""

    folder: Path
    genres: tuple[Genre, ...]
    tracks: tuple[Track, ...]
    dealt: bool = False
    """Whether the splits are ours, and not those that were listed."""

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.resolve().name

    @property
    def identity(self) -> str:
        """Of its tracks, their splits and their genres."""
        return key_of(*(part.model_dump_json() for part in (*self.genres, *self.tracks)))

    def of(self, split: Split) -> list[Track]:
        return [track for track in self.tracks if track.split == split]

    def labels(self, tracks: Sequence[Track]) -> Tensor:
        """(tracks, genres) of 0 and 1. A track that has a genre also has its parents."""
        column = {genre.slug: number for number, genre in enumerate(self.genres)}
        labels = torch.zeros(len(tracks), len(self.genres))
        for row, track in enumerate(tracks):
            for slug in track.genres:
                ancestor: str | None = slug
                while ancestor is not None:
                    labels[row, column[ancestor]] = 1
                    ancestor = self.genres[column[ancestor]].parent
        return labels

    def lyrics(self, track: Track, languages: Collection[str] | None = None) -> str:
        """Clean lyrics; empty where there are none, or they are known to be in none of `languages`.

        Raises UnreadableFile, UnreadableLyrics.
        """
        if track.lyrics is None:
            return ""
        # As the worker decides.
        if languages and track.language and track.language.lower().split("-")[0] not in languages:
            return ""
        if is_url(track.lyrics) or track.lyrics.lower().endswith(LYRICS_FILES):
            return clean_lyrics(read_lyrics(read_bytes(self.folder, track.lyrics)))
        if "/" in track.lyrics and len(track.lyrics.split()) == 1:
            raise UnreadableFile(f"lyrics {track.lyrics} look like a path: name a .txt or .lrc file")
        return clean_lyrics(track.lyrics)

    def audio(self, track: Track) -> bytes:
        """The encoded file. Raises UnreadableFile."""
        return read_bytes(self.folder, track.audio)

    def audio_version(self, track: Track) -> str | None:
        """What changes with the file, known without reading it; None on disk. Raises UnreadableFile."""
        return version_of(track.audio)
