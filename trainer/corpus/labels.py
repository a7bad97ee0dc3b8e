"""The sixteen genres, and the frequencies of their combinations on real tracks.

`labelsets.tsv` counts sets of genre tags in the MTG-Jamendo dataset (D. Bogdanov, M. Won, P. Tovstogan,
A. Porter, X. Serra: "The MTG-Jamendo Dataset for Automatic Music Tagging", ICML 2019 workshop on machine
learning for music discovery), its 87 genre tags restricted to these sixteen, sets seen ten times or more.
The dataset's metadata is CC BY-NC-SA 4.0; only these aggregate counts are used.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from schemas.bundle import Genre

GENRES = (
    Genre(slug="electronic", name="Electronic"),
    Genre(slug="ambient", name="Ambient"),
    Genre(slug="techno", name="Techno", parent="electronic"),
    Genre(slug="house", name="House", parent="electronic"),
    Genre(slug="pop", name="Pop"),
    Genre(slug="rock", name="Rock"),
    Genre(slug="metal", name="Metal", parent="rock"),
    Genre(slug="punk-rock", name="Punk Rock", parent="rock"),
    Genre(slug="hip-hop", name="Hip-Hop"),
    Genre(slug="jazz", name="Jazz"),
    Genre(slug="blues", name="Blues"),
    Genre(slug="funk", name="Funk"),
    Genre(slug="reggae", name="Reggae"),
    Genre(slug="classical", name="Classical"),
    Genre(slug="folk", name="Folk"),
    Genre(slug="country", name="Country"),
)

SLUGS = tuple(genre.slug for genre in GENRES)
PARENTS = {genre.slug: genre.parent for genre in GENRES if genre.parent is not None}

COUNT_EXPONENT = 0.6
"""Sets are drawn in proportion to their count to this power. With a power of 1, only 1 track in 90 would be
country, too few to learn from. With this power, 1 in 35 is."""

LabelSet = tuple[str, ...]
"""Slugs in the order of `GENRES`."""


@dataclass(frozen=True)
class LabelSetTable:
    """Label sets and their probabilities."""

    sets: tuple[LabelSet, ...]
    """Distinct sets; each has the parents of its genres."""
    shares: tuple[float, ...]
    """Probability of each set; the sum is 1."""

    def draw(self, rng: np.random.Generator) -> LabelSet:
        """Return a set drawn with the probabilities `shares`."""
        return self.sets[int(rng.choice(len(self.sets), p=self.shares))]


@cache
def label_sets() -> LabelSetTable:
    """Return the label sets, with probabilities in proportion to count ** `COUNT_EXPONENT`.

    Parents are added to each set after that: people often tag a track techno without
    electronic, but the worker adds the parents of accepted genres, so labels must be complete here too.
    """
    text = files(__package__).joinpath("labelsets.tsv").read_text(encoding="utf-8")
    weights: dict[LabelSet, float] = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        labels = with_parents(row["genres"].split(","))
        weights[labels] = weights.get(labels, 0.0) + int(row["tracks"]) ** COUNT_EXPONENT
    total = sum(weights.values())
    return LabelSetTable(tuple(weights), tuple(weight / total for weight in weights.values()))


def with_parents(slugs: list[str]) -> LabelSet:
    """Return the genres and their parents, without duplicates, in the order of `GENRES`."""
    closed = {*slugs, *(PARENTS[slug] for slug in slugs if slug in PARENTS)}
    return tuple(slug for slug in SLUGS if slug in closed)


def leaf_genres(labels: LabelSet) -> LabelSet:
    """Return the genres whose recipes and themes a track uses.

    A parent whose child is in the set is left out: the child's recipe and theme are used instead.
    """
    implied = {PARENTS[slug] for slug in labels if slug in PARENTS}
    return tuple(slug for slug in labels if slug not in implied)
