"""The vocabulary of each theme of lyrics, and the words common to all themes, from `themes.tsv`.

Themes overlap on purpose: words such as river, night and fire belong to several.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Vocabulary:
    """Words of a theme, by part of speech."""

    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    """In the first person, present tense."""
    adjectives: tuple[str, ...]


def _read_vocabularies() -> dict[str, Vocabulary]:
    text = files(__package__).joinpath("themes.tsv").read_text(encoding="utf-8")
    return {
        row["theme"]: Vocabulary(
            nouns=tuple(row["nouns"].split()),
            verbs=tuple(row["verbs"].split()),
            adjectives=tuple(row["adjectives"].split()),
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
    }


THEMES = _read_vocabularies()
"""Vocabulary by theme, without the common words."""

COMMON = THEMES.pop("common")
"""Words common to all themes."""

THEME_OF = {
    "electronic": "machines",
    "ambient": "dreams",
    "techno": "club",
    "house": "club",
    "pop": "heartache",
    "rock": "road",
    "metal": "darkness",
    "punk-rock": "protest",
    "hip-hop": "street",
    "jazz": "heartache",
    "blues": "heartache",
    "funk": "club",
    "reggae": "protest",
    "classical": "dreams",
    "folk": "nature",
    "country": "road",
}
"""Theme of each genre: the columns of the table in the package's docstring."""
