"""Maps the raw labels of a checkpoint to genres with parents, by a taxonomy file in TOML.

```toml
separator = "---"                # "Electronic---Techno" is Techno, whose parent is Electronic
others = "keep"                  # or "drop": for labels that are not named below
keep = ["Jazz"]
drop = ["Speech", "Silence"]

[rename]
"Hip hop music" = "Hip Hop"
"Techno" = "Electronic---Techno"
```
"""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exporter.errors import TaxonomyError
from schemas.bundle import Genre
from trainer.data.genres import genre_slug
from trainer.errors import ManifestError


class Taxonomy(BaseModel):
    """The taxonomy file. The defaults keep every label and split it at `---`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separator: str = Field(default="---", min_length=1)
    others: Literal["keep", "drop"] = "keep"
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}

    @model_validator(mode="after")
    def _names_a_label_once(self) -> Self:
        twice = [label for label, count in Counter(self.named).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        return (*self.keep, *self.drop, *self.rename)

    def path(self, label: str) -> tuple[str, ...]:
        """Return the names from the root to the label's genre; empty if the label is dropped."""
        if label in self.drop or (self.others == "drop" and label not in self.named):
            return ()
        names = self.rename.get(label, label).split(self.separator)
        return tuple(name.strip() for name in names)


@dataclass(frozen=True)
class Mapping:
    """Genres, and the columns of the raw labels of each."""

    genres: tuple[Genre, ...]
    columns: tuple[tuple[int, ...], ...]
    """By genre, columns of its own labels and of those below it. Its score is the maximum of their scores."""


def read_taxonomy(path: Path) -> Taxonomy:
    """Read a taxonomy file. Raises TaxonomyError, naming the problem."""
    try:
        return Taxonomy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TaxonomyError(f"cannot read {path} ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "taxonomy"
        raise TaxonomyError(f"{path}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise TaxonomyError(f"{path} is not TOML: {error}") from error


def map_labels(labels: Sequence[str], taxonomy: Taxonomy) -> Mapping:
    """Return the genres of raw `labels`, parents before their children. Raises TaxonomyError."""
    unknown = [label for label in taxonomy.named if label not in set(labels)]
    if unknown:
        raise TaxonomyError(
            f"the taxonomy names {unknown[0]!r}, which is not a label of the checkpoint; "
            f"its labels are {', '.join(labels[:5])} …"
        )
    names: dict[tuple[str, ...], str] = {}
    columns: dict[tuple[str, ...], list[int]] = {}
    for column, label in enumerate(labels):
        place: tuple[str, ...] = ()
        for name in taxonomy.path(label):
            slug = _slug(name, label)
            # "Reggae---Reggae" is the genre Reggae.
            place = place if place[-1:] == (slug,) else (*place, slug)
            names.setdefault(place, name)
            own = columns.setdefault(place, [])
            if column not in own:
                own.append(column)
    if not names:
        raise TaxonomyError("the taxonomy drops every label: keep some")
    # Experimental below Rock and below Hip Hop are two genres, each with its parent in the slug.
    ends = Counter(place[-1] for place in names)
    slugs = {place: place[-1] if ends[place[-1]] == 1 else "-".join(place) for place in names}
    shared = [slug for slug, count in Counter(slugs.values()).items() if count > 1]
    if shared:
        raise TaxonomyError(f"two genres would have the slug {shared[0]}: rename one in the taxonomy")
    try:
        genres = tuple(
            Genre(
                slug=slugs[place],
                name=name if slugs[place] == place[-1] else f"{name} ({names[place[:-1]]})",
                parent=slugs[place[:-1]] if len(place) > 1 else None,
            )
            for place, name in names.items()
        )
    except ValidationError as error:
        raise TaxonomyError(
            f"a label is too long for a slug ({error.errors()[0]['input']}): rename it"
        ) from None
    return Mapping(genres, tuple(tuple(columns[place]) for place in names))


def _slug(name: str, label: str) -> str:
    try:
        return genre_slug(name)
    except ManifestError:
        raise TaxonomyError(f"label {label!r} has no Latin letters: rename it in the taxonomy") from None
