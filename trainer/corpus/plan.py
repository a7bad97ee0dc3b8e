"""Plans the tracks of the corpus: artists, label sets, titles and splits."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from trainer.corpus.crossing import is_crossed, may_cross
from trainer.corpus.encode import Encoding, draw_encoding
from trainer.corpus.labels import LabelSet, label_sets, leaf_genres
from trainer.corpus.performance import ArtistStyle
from trainer.corpus.themes import COMMON
from trainer.corpus.words import is_instrumental, write_title
from trainer.data.track import SPLIT_SHARES, SPLITS, Split

TRACKS_PER_ARTIST = (2, 8)
"""Minimum and maximum. All tracks of an artist are in one split."""

USUAL_SET_PROBABILITY = 0.5
"""Probability that a track has its artist's usual label set."""

ARTIST_NOUNS = 3
"""Number of nouns that an artist uses in all lyrics."""


@dataclass(frozen=True)
class PlannedTrack:
    """Everything that a track's audio and lyrics are generated from, independent of the other tracks."""

    track_id: str
    seed: tuple[int, int]
    artist: str
    title: str
    genres: LabelSet
    """Genres of the track, with their parents."""
    sung: bool
    crossed: bool
    """Whether its genres take sound and lyrics of other genres: see `crossing`."""
    split: Split
    encoding: Encoding
    style: ArtistStyle
    artist_nouns: tuple[str, ...]


def plan_tracks(tracks: int, seed: int, crossing: float = 0.0) -> list[PlannedTrack]:
    """Return `tracks` tracks, artist after artist, of which a share `crossing` is crossed.

    The same arguments give the same plan. Artists and genres do not depend on `crossing`.
    """
    rng = np.random.default_rng(seed)
    table = label_sets()
    planned: list[PlannedTrack] = []
    sizes: Counter[Split] = Counter()
    for artist, size in enumerate(_artist_sizes(tracks, rng)):
        name = _artist_name(artist)
        style = ArtistStyle.draw(rng)
        artist_nouns = tuple(str(noun) for noun in rng.choice(COMMON.nouns, ARTIST_NOUNS, replace=False))
        usual_set = table.draw(rng)
        # Artists are drawn independently, so each goes to the split that lacks most of its share.
        split = max(
            SPLITS,
            key=lambda split: (SPLIT_SHARES[split] * tracks - sizes[split]) / SPLIT_SHARES[split],
        )
        sizes[split] += size
        for _ in range(size):
            genres = usual_set if rng.random() < USUAL_SET_PROBABILITY else table.draw(rng)
            crossed = may_cross(leaf_genres(genres)) and is_crossed(crossing, seed, len(planned))
            title = write_title(rng)
            instrumental = is_instrumental(leaf_genres(genres), rng)
            planned.append(
                PlannedTrack(
                    track_id=f"synthetic-{len(planned):05d}",
                    seed=(seed, len(planned)),
                    artist=name,
                    title=title,
                    genres=genres,
                    # A crossed track always has lyrics: without them its genres cannot be identified.
                    sung=crossed or not instrumental,
                    crossed=crossed,
                    split=split,
                    encoding=draw_encoding(rng),
                    style=style,
                    artist_nouns=artist_nouns,
                )
            )
    return planned


def _artist_sizes(tracks: int, rng: np.random.Generator) -> list[int]:
    """Return the number of tracks of each artist, `tracks` in total."""
    sizes: list[int] = []
    while (left := tracks - sum(sizes)) > 0:
        sizes.append(min(left, int(rng.integers(*TRACKS_PER_ARTIST, endpoint=True))))
    return sizes


def _artist_name(number: int) -> str:
    """Return a unique name for an artist's number. When all pairs of words are used, a number is added."""
    adjectives, nouns = COMMON.adjectives, COMMON.nouns
    again, pair = divmod(number, len(adjectives) * len(nouns))
    row, column = divmod(pair, len(nouns))
    name = f"The {adjectives[(row + column) % len(adjectives)]} {nouns[column]}s".title()
    return name if not again else f"{name} {again + 1}"
