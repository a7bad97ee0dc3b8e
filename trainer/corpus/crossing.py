"""Crossed tracks: the same words mean another genre under another beat.

Without them a genre's evidence is a sum, so much from the sound and so much from the words, and whoever adds
the two up tells it. A crossed track breaks that: it sounds like one genre and sings like another, and only
which words come with which sound says what it is.
"""

import numpy as np

from trainer.corpus.labels import LabelSet

STREAM = 1
"""A random stream of its own, so that a corpus without crossed tracks has the bytes it always had."""

CROSSED = {
    "folk": ("blues", "country"),
    "country": ("blues", "folk"),
    "electronic": ("house", "pop"),
    "pop": ("house", "electronic"),
    "metal": ("rock", "punk-rock"),
    "punk-rock": ("rock", "metal"),
    "hip-hop": ("reggae", "funk"),
    "funk": ("reggae", "hip-hop"),
    "techno": ("house", "metal"),
    "house": ("techno", "metal"),
    "jazz": ("blues", "ambient"),
    "blues": ("jazz", "ambient"),
}
"""Genre to the genre that it sounds like and the one that it sings like; the others are never crossed."""


def may_cross(genres: LabelSet) -> bool:
    return any(slug in CROSSED for slug in genres)


def is_crossed(share: float, seed: int, number: int) -> bool:
    return bool(np.random.default_rng((seed, number, STREAM)).random() < share)


def crossed(genres: LabelSet) -> tuple[LabelSet, LabelSet]:
    """Genres whose recipes a crossed track sounds of, and genres whose themes it sings of."""
    schools = [CROSSED.get(slug, (slug, slug)) for slug in genres]
    return tuple(sound for sound, _ in schools), tuple(words for _, words in schools)
