"""Read Music4All (Santana et al., 2020) in its official layout, filtered as in the paper.

```
id_information.csv    id, artist, song, album_name: tab-separated, with a header, as are the others
id_genres.csv         id, genres: joined by commas
id_lang.csv           id, lang: `en` and so on; `INTRUMENTAL` (sic) without lyrics
id_metadata.csv       id, and columns that are not used here
audios/<id>.mp3
lyrics/<id>.txt
genres.json           not part of Music4All; optional: only these genres are used
```
"""

import csv
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.bundle import Genre
from trainer.data.files import table_errors
from trainer.data.genres import GENRES_FILE, genre_slug, genres_from_names, read_genres
from trainer.data.library import Library
from trainer.data.track import Track
from trainer.errors import ManifestError

INFORMATION, GENRES, LANGUAGES, METADATA = (
    f"id_{name}.csv" for name in ("information", "genres", "lang", "metadata")
)

MIN_TRACKS = 10
"""Minimum number of tracks of a genre, unless `genres.json` lists the genres. Chosen: fewer tracks cannot be
split 70/10/20. The paper does not publish its list of 87 genres; if you have it, write it to
`genres.json`."""

log = logging.getLogger(__name__)

Cells = Mapping[str, str]


def read_music4all(folder: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """Return the tracks with complete information and English lyrics, without splits.

    `genres`, if given, are used instead of `genres.json`. The number of tracks left after each filter is
    logged. Raises ManifestError.
    """
    information, labels, languages, metadata = (
        _read_table(folder / name) for name in (INFORMATION, GENRES, LANGUAGES, METADATA)
    )
    clips, texts = (_file_names(folder / name) for name in ("audios", "lyrics"))
    track_ids = list(information)
    log.info("%s: %d tracks", folder, len(track_ids))
    filters: dict[str, Callable[[str], bool]] = {
        "artist, song and metadata": lambda key: (
            bool(information[key].get("artist") and information[key].get("song")) and key in metadata
        ),
        "genres": lambda key: bool(_split_genres(labels.get(key))),
        "a clip": lambda key: f"{key}.mp3" in clips,
        "lyrics": lambda key: f"{key}.txt" in texts,
        "lyrics in English": lambda key: languages.get(key, {}).get("lang") == "en",
    }
    for name, passes in filters.items():
        track_ids = [key for key in track_ids if passes(key)]
        log.info("with %s: %d tracks", name, len(track_ids))
    tracks = [
        Track(
            track_id=key,
            audio=f"audios/{key}.mp3",
            lyrics=f"lyrics/{key}.txt",
            genres=tuple(dict.fromkeys(genre_slug(name) for name in _split_genres(labels[key]))),
            artist=information[key]["artist"],
            language="en",
        )
        for key in track_ids
    ]
    beside = folder / GENRES_FILE
    if genres is None:
        genres = read_genres(beside) if beside.exists() else _common_genres(tracks, labels)
    allowed = {genre.slug for genre in genres}
    tracks = [
        track.model_copy(update={"genres": kept})
        for track in tracks
        if (kept := tuple(slug for slug in track.genres if slug in allowed))
    ]
    log.info("with one of %d genres: %d tracks", len(genres), len(tracks))
    return Library(folder, genres, tuple(tracks))


def _common_genres(tracks: list[Track], labels: Mapping[str, Cells]) -> tuple[Genre, ...]:
    """Return the genres that at least `MIN_TRACKS` tracks have."""
    counts = Counter(slug for track in tracks for slug in track.genres)
    names = {genre_slug(name): name for track in tracks for name in _split_genres(labels[track.track_id])}
    return genres_from_names({slug: names[slug] for slug, count in counts.items() if count >= MIN_TRACKS})


def _read_table(path: Path) -> dict[str, Cells]:
    """Return the rows of a table by id. Raises ManifestError."""
    try:
        with table_errors(path), path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if "id" not in (reader.fieldnames or ()):
                raise ManifestError(f"{path} has no column id: the file must be tab-separated, with a header")
            return {row["id"]: row for row in reader}
    except csv.Error as error:
        raise ManifestError(f"{path}: {error}") from error


def _file_names(folder: Path) -> set[str]:
    """Return the names of the files in `folder` that are not empty. Raises ManifestError."""
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder: put Music4All's audios and lyrics beside its tables")
    return {file.name for file in folder.iterdir() if file.stat().st_size}


def _split_genres(row: Cells | None) -> list[str]:
    """Return the genre names of a row of `id_genres.csv`; empty if there is no row."""
    return [name.strip() for name in ((row or {}).get("genres") or "").split(",") if name.strip()]
