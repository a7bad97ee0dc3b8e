"""Raw labels of a checkpoint to genres with parents, as a taxonomy file in TOML says.

```toml
separator = "---"                # "Electronic---Techno" is Techno, whose parent is Electronic
others = "keep"                  # or "drop": labels that are not named below
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
    """Without a file every label is kept, and split at `---`."""

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
        """Names from the root to the label's genre; none where it is dropped."""
        if label in self.drop or (self.others == "drop" and label not in self.named):
            return ()
        names = self.rename.get(label, label).split(self.separator)
        return tuple(name.strip() for name in names)


@dataclass(frozen=True)
class Mapping:
    """Genres, and the raw labels that speak for each."""

    genres: tuple[Genre, ...]
    columns: tuple[tuple[int, ...], ...]
    """A genre's own labels and those of the genres below it: its score is the highest of theirs."""


def read_taxonomy(path: Path) -> Taxonomy:
    """Raises TaxonomyError, naming what is wrong."""
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


def mapped(labels: Sequence[str], taxonomy: Taxonomy) -> Mapping:
    """The genres of raw `labels`, parents before their children. Raises TaxonomyError."""
    strangers = [label for label in taxonomy.named if label not in set(labels)]
    if strangers:
        raise TaxonomyError(
            f"the taxonomy names {strangers[0]!r}, which is no label of the checkpoint; "
            f"its labels are {', '.join(labels[:5])} …"
        )
    names: dict[tuple[str, ...], str] = {}
    columns: dict[tuple[str, ...], list[int]] = {}
    for column, label in enumerate(labels):
        place: tuple[str, ...] = ()
        for name in taxonomy.path(label):
            slug = _slug(name, label)
            # "Reggae---Reggae" is Reggae itself.
            place = place if place[-1:] == (slug,) else (*place, slug)
            names.setdefault(place, name)
            own = columns.setdefault(place, [])
            if column not in own:
                own.append(column)
    if not names:
        raise TaxonomyError("the taxonomy drops every label: keep some")
    # Experimental is below Rock and below Hip Hop: two genres, each with the parent in its slug.
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
