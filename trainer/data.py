"""Labelled tracks: the manifest, and what the network gets of each track.

A manifest is JSON lines, one `Track` a line. Beside it lies `genres.json`, a list of
`{"slug", "name", "parent"}`, the genres in the order of the network's outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from media.decode import Clip, decode_windows
from media.lyrics import clean_lyrics, read_lyrics
from schemas.bundle import AudioInput, Genre
from trainer.errors import ManifestError

GENRES_FILE = "genres.json"
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Track(BaseModel):
    """One line of a manifest; other keys are passed over. Paths are relative to the manifest."""

    model_config = ConfigDict(frozen=True)

    track_id: str = Field(min_length=1)
    audio: str = Field(min_length=1)
    lyrics: str | None = Field(description="None where there are none.")
    genres: tuple[str, ...] = Field(min_length=1, description="Slugs.")
    artist: str
    language: str | None
    split: Split


@dataclass(frozen=True)
class Library:
    """A manifest and its genres."""

    folder: Path
    genres: tuple[Genre, ...]
    tracks: tuple[Track, ...]

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

    def lyrics(self, track: Track) -> str:
        """Clean lyrics; empty where there are none. Raises ManifestError, UnreadableLyrics."""
        if track.lyrics is None:
            return ""
        return clean_lyrics(read_lyrics(self._bytes(track, track.lyrics)))

    def clip(self, track: Track, audio: AudioInput) -> Clip:
        """Raises ManifestError, MediaError."""
        return decode_windows(self._bytes(track, track.audio), audio)

    def _bytes(self, track: Track, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ManifestError(
                f"track {track.track_id}: cannot read {name} ({error.strerror}): "
                "paths in the manifest are relative to it"
            ) from error


def read_library(manifest: Path) -> Library:
    """A manifest that can be trained on. Raises ManifestError, naming the line."""
    genres = _genres(manifest.parent / GENRES_FILE)
    slugs = {genre.slug for genre in genres}
    tracks: list[Track] = []
    seen: set[str] = set()
    for number, line in enumerate(_text(manifest).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            track = Track.model_validate_json(line)
        except ValidationError as error:
            raise ManifestError(f"{manifest}, line {number}: {_first(error)}") from error
        unknown = sorted(set(track.genres) - slugs)
        if unknown:
            raise ManifestError(f"{manifest}, line {number}: {unknown[0]} is not a genre of {GENRES_FILE}")
        if track.track_id in seen:
            raise ManifestError(f"{manifest}, line {number}: track_id {track.track_id} came before")
        seen.add(track.track_id)
        tracks.append(track)
    library = Library(manifest.parent, genres, tuple(tracks))
    for split in SPLITS:
        if len(library.of(split)) < 2:
            raise ManifestError(f"{manifest}: split {split} needs two tracks at least")
    return library


def _genres(path: Path) -> tuple[Genre, ...]:
    try:
        genres = TypeAdapter(tuple[Genre, ...]).validate_json(_text(path))
    except ValidationError as error:
        raise ManifestError(f"{path}: {_first(error)}") from error
    parents = {genre.slug: genre.parent for genre in genres}
    if not genres or len(parents) != len(genres):
        raise ManifestError(f"{path}: one genre is needed at least, and each only once")
    for genre in genres:
        ancestors = {genre.slug}
        parent = genre.parent
        while parent is not None:
            if parent not in parents:
                raise ManifestError(f"{path}: {parent}, parent of {genre.slug}, is not listed")
            if parent in ancestors:
                raise ManifestError(f"{path}: {genre.slug} is its own ancestor")
            ancestors.add(parent)
            parent = parents[parent]
    return genres


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 text") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
