"""The genres of a library: those listed in `genres.json` or, without that file, all that the tracks have.

`genres.json` is a list of `{"slug", "name", "parent"}` in the order of the network's outputs. `parent` is the
slug of a more general genre, or null.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from schemas.bundle import Genre
from trainer.errors import ManifestError

GENRES_FILE = "genres.json"


def genre_slug(name: str) -> str:
    """Return the slug of a genre name, such as `hip-hop` for `Hip Hop`.

    Raises ManifestError if the name has no Latin letter and no digit.
    """
    latin = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", latin.lower()).strip("-")
    if not slug:
        raise ManifestError(f"genre {name!r} has no Latin letters: use the slug that {GENRES_FILE} gives it")
    return slug


def genres_from_names(names: Mapping[str, str]) -> tuple[Genre, ...]:
    """Return genres without parents, sorted by slug, from names by slug.

    Raises ManifestError if a slug is too long.
    """
    try:
        return tuple(Genre(slug=slug, name=names[slug]) for slug in sorted(names))
    except ValidationError as error:
        longest = names[max(names, key=len)]
        raise ManifestError(f"genre {longest!r} is too long: separate several genres by |") from error


def read_genres(path: Path) -> tuple[Genre, ...]:
    """Return the genres of a `genres.json`. Raises ManifestError, which names the wrong genre."""
    try:
        genres = TypeAdapter(tuple[Genre, ...]).validate_json(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"cannot read {path} ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(f"{path}: {where}: {first['msg']}") from error
    parents = {genre.slug: genre.parent for genre in genres}
    if not genres or len(parents) != len(genres):
        raise ManifestError(f"{path}: list at least one genre, and each genre only once")
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
