"""A library: labelled tracks, their label matrix, and access to their audio and lyrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from media.lyrics import clean_lyrics, read_lyrics
from schemas.bundle import Genre, LyricsFilter
from trainer.data.digest import content_digest
from trainer.data.files import is_url, object_version, read_bytes
from trainer.data.track import Split, Track
from trainer.errors import UnreadableFile

NO_FILTER = LyricsFilter()
"""Accepts lyrics of any length and language."""

LYRICS_FILES = (".txt", ".lrc")
"""Endings of lyrics files. A manifest's `lyrics` with another ending are the lyrics themselves."""


@dataclass(frozen=True)
class Library:
    """Labelled tracks and their genres. `read_library` gives each track a split, and each artist only one."""

    folder: Path
    """Folder that the paths of the tracks are relative to."""
    genres: tuple[Genre, ...]
    """In the order of the columns of `labels`, and of the network's outputs."""
    tracks: tuple[Track, ...]
    assigned: bool = False
    """Whether `trainer.data.splits` assigned the splits; False if the manifest lists them."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def identity(self) -> str:
        """Digest of the genres and of the tracks with their splits."""
        return content_digest(*(part.model_dump_json() for part in (*self.genres, *self.tracks)))

    def in_split(self, split: Split) -> list[Track]:
        """Return the tracks of a split, in the order of the manifest."""
        return [track for track in self.tracks if track.split == split]

    def labels(self, tracks: Sequence[Track]) -> Tensor:
        """Return the labels (tracks, genres) of 0 and 1 of `tracks`.

        A track that has a genre also has all ancestors of the genre.
        """
        column = {genre.slug: number for number, genre in enumerate(self.genres)}
        labels = torch.zeros(len(tracks), len(self.genres))
        for row, track in enumerate(tracks):
            for slug in track.genres:
                ancestor: str | None = slug
                while ancestor is not None:
                    labels[row, column[ancestor]] = 1
                    ancestor = self.genres[column[ancestor]].parent
        return labels

    def load_lyrics(self, track: Track, lyrics_filter: LyricsFilter = NO_FILTER) -> str:
        """Return the cleaned lyrics of a track; empty if it has none, or if `lyrics_filter` excludes them.

        Raises UnreadableFile, UnreadableLyrics, StorageError.
        """
        if track.lyrics is None or not lyrics_filter.accepts_language(track.language):
            return ""
        text = clean_lyrics(self._raw_lyrics(track.lyrics))
        return text if lyrics_filter.lyrics_use(text, track.language) == "used" else ""

    def _raw_lyrics(self, lyrics: str) -> str:
        """Return the text of a manifest's `lyrics`: a path, an s3:// URL or the text itself."""
        if is_url(lyrics) or lyrics.lower().endswith(LYRICS_FILES):
            return read_lyrics(read_bytes(self.folder, lyrics))
        if "/" in lyrics and len(lyrics.split()) == 1:
            raise UnreadableFile(
                f"lyrics {lyrics} look like a path: a lyrics file must end with .txt or .lrc"
            )
        return lyrics

    def load_audio(self, track: Track) -> bytes:
        """Return the content of a track's audio file. Raises UnreadableFile, StorageError."""
        return read_bytes(self.folder, track.audio)

    def audio_version(self, track: Track) -> str | None:
        """Return a digest that changes when the audio file in S3 changes, without reading the file.

        None for a file on disk. Raises UnreadableFile, StorageError.
        """
        return object_version(track.audio)
