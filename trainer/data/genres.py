"""The genres of a library: listed in `genres.json`, or those that its tracks have.

`genres.json` is a list of `{"slug", "name", "parent"}` in the order of the network's outputs.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from schemas.bundle import Genre
from trainer.errors import ManifestError

GENRES_FILE = "genres.json"


def slug_of(name: str) -> str:
    """`Hip Hop` to `hip-hop`. Raises ManifestError where no Latin letter or digit is left."""
    latin = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", latin.lower()).strip("-")
    if not slug:
        raise ManifestError(f"genre {name!r} has no Latin letters: call it by its slug in {GENRES_FILE}")
    return slug


def named(names: Mapping[str, str]) -> tuple[Genre, ...]:
    """Genres without parents, of slugs and names. Raises ManifestError where a slug is too long for one."""
    try:
        return tuple(Genre(slug=slug, name=names[slug]) for slug in sorted(names))
    except ValidationError as error:
        longest = names[max(names, key=len)]
        raise ManifestError(f"genre {longest!r} is too long: are these several? Join them by |") from error


def read_genres(path: Path) -> tuple[Genre, ...]:
    """Raises ManifestError, naming the genre that is wrong."""
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
