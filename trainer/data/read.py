"""Read labelled tracks from a manifest or a Music4All folder, and check that there are enough of them."""

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from schemas.bundle import Genre
from trainer.data.library import Library
from trainer.data.manifest import read_manifest
from trainer.data.music4all import read_music4all
from trainer.data.splits import assign_splits
from trainer.data.track import SPLITS
from trainer.errors import ManifestError

log = logging.getLogger(__name__)


def read_library(source: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """Return the tracks of a manifest file or of a Music4All folder, each in a split.

    Splits are those of the manifest or, if it has none, assigned here. `genres`, if given, are the only ones
    that tracks may have. Raises ManifestError, and LeakError if an artist is in two splits.
    """
    listed = read_listed(source, genres)
    assigned = not any(track.split for track in listed.tracks)
    library = Library(listed.folder, listed.genres, tuple(assign_splits(listed.tracks)), assigned)
    log.info(
        "%d tracks of %d genres: %s",
        *(len(library.tracks), len(library.genres)),
        ", ".join(f"{len(library.in_split(split))} {split}" for split in SPLITS),
    )
    return library


def read_listed(source: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """Return the same tracks with the splits of the manifest, or with none. Raises ManifestError."""
    return (read_music4all if source.is_dir() else read_manifest)(source, genres)


def require_examples(library: Library) -> None:
    """Raise ManifestError if a split has fewer than two tracks, or a genre has no training track."""
    for split in SPLITS:
        if len(library.in_split(split)) < 2:
            raise ManifestError(
                f"split {split} needs at least two tracks; there are {len(library.tracks)} tracks in all"
            )
    missing = genres_without_tracks(library.genres, library.labels(library.in_split("train")))
    if missing:
        others = f" ({len(missing) - 1} other genres too: {', '.join(missing[1:])})" if missing[1:] else ""
        raise ManifestError(
            f"no track of split train has the genre {missing[0]}: add tracks, or remove the genre{others}"
        )


def genres_without_tracks(genres: Sequence[Genre], labels: Tensor) -> list[str]:
    """Return the slugs of the genres whose column of `labels` (tracks, genres) is all 0."""
    return [genre.slug for genre, count in zip(genres, labels.sum(0).tolist(), strict=True) if not count]
