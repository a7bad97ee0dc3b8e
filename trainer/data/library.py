"""Labelled tracks, and what the network gets of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from media.lyrics import clean_lyrics, read_lyrics
from schemas.bundle import Genre, LyricsFilter
from trainer.data.digest import content_digest
from trainer.data.files import is_url, read_bytes, version_of
from trainer.data.track import Split, Track
from trainer.errors import UnreadableFile

NO_FILTER = LyricsFilter()
"""Reads lyrics of any length and language."""

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

    def lyrics(self, track: Track, lyrics_filter: LyricsFilter = NO_FILTER) -> str:
        """Return the cleaned lyrics of a track; empty if it has none, or if `lyrics_filter` excludes them.

        Raises UnreadableFile, UnreadableLyrics.
        """
        if track.lyrics is None or not lyrics_filter.accepts_language(track.language):
            return ""
        words = clean_lyrics(self._raw_lyrics(track.lyrics))
        return words if lyrics_filter.lyrics_use(words, track.language) == "used" else ""

    def _raw_lyrics(self, lyrics: str) -> str:
        """Return the text of a manifest's `lyrics`: a path, an s3:// URL or the text itself."""
        if is_url(lyrics) or lyrics.lower().endswith(LYRICS_FILES):
            return read_lyrics(read_bytes(self.folder, lyrics))
        if "/" in lyrics and len(lyrics.split()) == 1:
            raise UnreadableFile(f"lyrics {lyrics} look like a path: name a .txt or .lrc file")
        return lyrics

    def audio(self, track: Track) -> bytes:
        """The encoded file. Raises UnreadableFile."""
        return read_bytes(self.folder, track.audio)

    def audio_version(self, track: Track) -> str | None:
        """What changes with the file, known without reading it; None on disk. Raises UnreadableFile."""
        return version_of(track.audio)
