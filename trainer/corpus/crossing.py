"""Crossed tracks: the same lyrics belong to different genres under different sounds.

Without them, a model that adds up the evidence of the sound and of the lyrics identifies every genre. A
crossed track has the sound of one genre and the lyrics of another, so that only the combination identifies
its genre.
"""

import numpy as np

from trainer.corpus.labels import LabelSet

STREAM = 1
"""A separate random stream, so that the other draws of the corpus do not depend on crossing."""

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
"""Genre to (genre whose sound it takes, genre whose lyrics it takes). Other genres are never crossed."""


def may_cross(genres: LabelSet) -> bool:
    """Return whether a track with these genres can be crossed."""
    return any(slug in CROSSED for slug in genres)


def is_crossed(share: float, seed: int, number: int) -> bool:
    """Return whether the track with this number is crossed, with probability `share`."""
    return bool(np.random.default_rng((seed, number, STREAM)).random() < share)


def crossing_sources(genres: LabelSet) -> tuple[LabelSet, LabelSet]:
    """Return the genres whose recipes a crossed track uses, and the genres whose themes its lyrics use."""
    sources = [CROSSED.get(slug, (slug, slug)) for slug in genres]
    return tuple(sound for sound, _ in sources), tuple(lyrics for _, lyrics in sources)
