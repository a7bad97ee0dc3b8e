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
        """All labels that the file names."""
        return (*self.keep, *self.drop, *self.rename)

    def path(self, label: str) -> tuple[str, ...]:
        """Return the names from the root to the label's genre; empty if the label is dropped."""
        if label in self.drop or (self.others == "drop" and label not in self.named):
            return ()
        names = self.rename.get(label, label).split(self.separator)
        return tuple(name.strip() for name in names)


@dataclass(frozen=True)
class Mapping:
    """Genres, and for each the columns of the raw labels whose scores it takes."""

    genres: tuple[Genre, ...]
    columns: tuple[tuple[int, ...], ...]
    """For each genre, the columns of its labels and of those below it. Its score is the maximum of theirs."""


def read_taxonomy(path: Path) -> Taxonomy:
    """Return the taxonomy in a file. Raises TaxonomyError, which names the problem."""
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
        # Slugs from the root to the genre.
        slug_path: tuple[str, ...] = ()
        for name in taxonomy.path(label):
            slug = _slug(name, label)
            # "Reggae---Reggae" is the genre Reggae.
            slug_path = slug_path if slug_path[-1:] == (slug,) else (*slug_path, slug)
            names.setdefault(slug_path, name)
            genre_columns = columns.setdefault(slug_path, [])
            if column not in genre_columns:
                genre_columns.append(column)
    if not names:
        raise TaxonomyError("the taxonomy drops every label: keep some")
    # Experimental below Rock and below Hip Hop are two genres, each with its parent in the slug.
    leaf_counts = Counter(slug_path[-1] for slug_path in names)
    slugs = {
        slug_path: slug_path[-1] if leaf_counts[slug_path[-1]] == 1 else "-".join(slug_path)
        for slug_path in names
    }
    duplicates = [slug for slug, count in Counter(slugs.values()).items() if count > 1]
    if duplicates:
        raise TaxonomyError(f"two genres would have the slug {duplicates[0]}: rename one in the taxonomy")
    try:
        genres = tuple(
            Genre(
                slug=slugs[slug_path],
                name=name if slugs[slug_path] == slug_path[-1] else f"{name} ({names[slug_path[:-1]]})",
                parent=slugs[slug_path[:-1]] if len(slug_path) > 1 else None,
            )
            for slug_path, name in names.items()
        )
    except ValidationError as error:
        raise TaxonomyError(
            f"a label is too long for a slug ({error.errors()[0]['input']}): rename it"
        ) from None
    return Mapping(genres, tuple(tuple(columns[slug_path]) for slug_path in names))


def _slug(name: str, label: str) -> str:
    try:
        return genre_slug(name)
    except ManifestError:
        raise TaxonomyError(f"label {label!r} has no Latin letters: rename it in the taxonomy") from None
