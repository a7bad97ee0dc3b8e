"""Music4All (Santana et al., 2020) in its official layout, filtered as the paper filters it.

```
id_information.csv    id, artist, song, album_name: tab-separated, with a header, as are the others
id_genres.csv         id, genres: joined by commas
id_lang.csv           id, lang: `en`; `INTRUMENTAL` is spelt so
id_metadata.csv       id, and what is not read here
audios/<id>.mp3
lyrics/<id>.txt
genres.json           not official: where it lies here, other genres are left out
```
"""

import csv
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.bundle import Genre
from trainer.data.genres import GENRES_FILE, named, read_genres, slug_of
from trainer.data.library import Library
from trainer.data.track import Track
from trainer.errors import ManifestError

INFORMATION, GENRES, LANGUAGES, METADATA = (
    f"id_{name}.csv" for name in ("information", "genres", "lang", "metadata")
)

MIN_TRACKS = 10
"""Chosen, because a genre of fewer tracks cannot be shared out 70/10/20. The paper's 87 genres are not
published; who knows them lists them in `genres.json`."""

log = logging.getLogger(__name__)

Cells = Mapping[str, str]


def read_music4all(folder: Path, genres: tuple[Genre, ...] | None = None) -> Library:
    """Tracks with whole information and English lyrics, not split; `genres` go before those of `genres.json`.

    How many tracks each step leaves is logged. Raises ManifestError.
    """
    information, labels, languages, metadata = (
        _table(folder / name) for name in (INFORMATION, GENRES, LANGUAGES, METADATA)
    )
    clips, texts = (_names(folder / name) for name in ("audios", "lyrics"))
    kept = list(information)
    log.info("%s: %d tracks", folder, len(kept))
    steps: dict[str, Callable[[str], bool]] = {
        "artist, song and metadata": lambda key: (
            bool(information[key].get("artist") and information[key].get("song")) and key in metadata
        ),
        "genres": lambda key: bool(_split(labels.get(key))),
        "a clip": lambda key: f"{key}.mp3" in clips,
        "lyrics": lambda key: f"{key}.txt" in texts,
        "lyrics in English": lambda key: languages.get(key, {}).get("lang") == "en",
    }
    for step, passes in steps.items():
        kept = [key for key in kept if passes(key)]
        log.info("with %s: %d tracks", step, len(kept))
    tracks = [
        Track(
            track_id=key,
            audio=f"audios/{key}.mp3",
            lyrics=f"lyrics/{key}.txt",
            genres=tuple(dict.fromkeys(slug_of(name) for name in _split(labels[key]))),
            artist=information[key]["artist"],
            language="en",
        )
        for key in kept
    ]
    beside = folder / GENRES_FILE
    if genres is None:
        genres = read_genres(beside) if beside.exists() else _common(tracks, labels)
    allowed = {genre.slug for genre in genres}
    tracks = [
        track.model_copy(update={"genres": own})
        for track in tracks
        if (own := tuple(slug for slug in track.genres if slug in allowed))
    ]
    log.info("with one of %d genres: %d tracks", len(genres), len(tracks))
    return Library(folder, genres, tuple(tracks))


def _common(tracks: list[Track], labels: Mapping[str, Cells]) -> tuple[Genre, ...]:
    """Genres of at least `MIN_TRACKS` tracks."""
    counts = Counter(slug for track in tracks for slug in track.genres)
    names = {slug_of(name): name for track in tracks for name in _split(labels[track.track_id])}
    return named({slug: names[slug] for slug, count in counts.items() if count >= MIN_TRACKS})


def _table(path: Path) -> dict[str, Cells]:
    """Rows by id."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if "id" not in (reader.fieldnames or ()):
                raise ManifestError(f"{path} lacks the column id: it is tab-separated, with a header")
            return {row["id"]: row for row in reader}
    except csv.Error as error:
        raise ManifestError(f"{path}: {error}") from error
    except OSError as error:
        raise ManifestError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 text") from error


def _names(folder: Path) -> set[str]:
    """Names of the files that are not empty."""
    if not folder.is_dir():
        raise ManifestError(f"{folder} is no folder: Music4All's clips and lyrics lie beside its tables")
    return {file.name for file in folder.iterdir() if file.stat().st_size}


def _split(row: Cells | None) -> list[str]:
    return [name.strip() for name in ((row or {}).get("genres") or "").split(",") if name.strip()]
