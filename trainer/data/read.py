"""Labelled tracks, read from where they are listed: a manifest, or a folder in Music4All's layout."""

import logging
from pathlib import Path

from schemas.bundle import Genre
from trainer.data.library import SPLITS, Library, Split, Track
from trainer.data.manifest import read_manifest
from trainer.data.music4all import read_music4all
from trainer.data.splits import with_splits

__all__ = ["SPLITS", "Library", "Split", "Track", "read_library", "read_listed"]

log = logging.getLogger(__name__)


def read_library(source: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """The tracks of a manifest or of a Music4All folder, each in a split.

    `genres`, if given, are all that they may have.

    Raises ManifestError, LeakError.
    """
    listed = read_listed(source, genres)
    dealt = not any(track.split for track in listed.tracks)
    library = Library(listed.folder, listed.genres, tuple(with_splits(listed.tracks)), dealt)
    log.info(
        "%d tracks of %d genres: %s",
        *(len(library.tracks), len(library.genres)),
        ", ".join(f"{len(library.of(split))} {split}" for split in SPLITS),
    )
    return library


def read_listed(source: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """The same with the splits that are listed, and no other. Raises ManifestError."""
    return (read_music4all if source.is_dir() else read_manifest)(source, genres)
