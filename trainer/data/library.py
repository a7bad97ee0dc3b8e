"""Labelled tracks, and what the network gets of each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from media.lyrics import clean_lyrics, read_lyrics
from schemas.bundle import Genre
from trainer.data.digest import content_digest
from trainer.data.files import is_url, read_bytes, version_of
from trainer.data.track import Split, Track
from trainer.errors import UnreadableFile

LYRICS_FILES = (".txt", ".lrc")
"""What ends like this is the path of the lyrics; what does not is the lyrics themselves."""


@dataclass(frozen=True)
class Library:
    """Tracks and their genres. Every track has a split, artists are in one split only."""

    folder: Path
    genres: tuple[Genre, ...]
    tracks: tuple[Track, ...]
    assigned: bool = False
    """Whether `trainer.data.splits` assigned the splits; False if the manifest lists them."""

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.resolve().name

    @property
    def identity(self) -> str:
        """Of its tracks, their splits and their genres."""
        return content_digest(*(part.model_dump_json() for part in (*self.genres, *self.tracks)))

    def in_split(self, split: Split) -> list[Track]:
        """Return the tracks of a split, in the order of the manifest."""
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
