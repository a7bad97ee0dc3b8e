"""The sixteen genres and how often real tracks carry which of them together.

`labelsets.tsv` counts sets of genre tags in the MTG-Jamendo dataset (D. Bogdanov, M. Won, P. Tovstogan,
A. Porter, X. Serra: "The MTG-Jamendo Dataset for Automatic Music Tagging", ICML 2019 workshop on machine
learning for music discovery), its 87 genre tags restricted to these sixteen, sets seen ten times or more.
The dataset's metadata is CC BY-NC-SA 4.0; only these aggregate numbers are taken over.
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

TEMPER = 0.6
"""Sets are drawn in proportion to their count to this power. By the counts alone, country would be on one
track in ninety, too few to learn from; so tempered, it is on one in thirty-five."""

LabelSet = tuple[str, ...]
"""Slugs in the order of `GENRES`."""


@dataclass(frozen=True)
class LabelSetTable:
    sets: tuple[LabelSet, ...]
    """Closed under parents, each once."""
    shares: tuple[float, ...]
    """Probability with which each is drawn; they add up to 1."""

    def draw(self, rng: np.random.Generator) -> LabelSet:
        return self.sets[int(rng.choice(len(self.sets), p=self.shares))]


@cache
def label_sets() -> LabelSetTable:
    """The tempered counts as probabilities of label sets.

    Each set is closed under parents after its count was tempered: taggers of a techno track often left
    electronic out, but the worker adds the parents of accepted genres, so a label must mean the same here.
    """
    text = files(__package__).joinpath("labelsets.tsv").read_text(encoding="utf-8")
    weights: dict[LabelSet, float] = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        labels = with_parents(row["genres"].split(","))
        weights[labels] = weights.get(labels, 0.0) + int(row["tracks"]) ** TEMPER
    total = sum(weights.values())
    return LabelSetTable(tuple(weights), tuple(weight / total for weight in weights.values()))


def with_parents(slugs: list[str]) -> LabelSet:
    """The genres and their parents, each once."""
    closed = {*slugs, *(PARENTS[slug] for slug in slugs if slug in PARENTS)}
    return tuple(slug for slug in SLUGS if slug in closed)


def voiced(labels: LabelSet) -> LabelSet:
    """The genres that a track's sound and words are made of.

    A parent whose child is there is left out: the child's own recipe is the way the track is electronic.
    """
    implied = {PARENTS[slug] for slug in labels if slug in PARENTS}
    return tuple(slug for slug in labels if slug not in implied)
