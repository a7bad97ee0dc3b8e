from collections import Counter
from itertools import pairwise

import pytest

from trainer.corpus.labels import SLUGS, label_sets, leaf_genres, with_parents
from trainer.corpus.plan import plan_tracks
from trainer.data.track import SPLIT_SHARES

TRACKS = 3000


@pytest.fixture(scope="module")
def plan() -> list[tuple[str, ...]]:
    return [track.genres for track in plan_tracks(TRACKS, seed=7)]


def test_label_sets_are_drawn_with_their_probabilities(plan: list[tuple[str, ...]]) -> None:
    table = label_sets()
    drawn = Counter(plan)
    assert set(drawn) <= set(table.sets)
    distance = sum(
        abs(drawn[labels] / TRACKS - share) for labels, share in zip(table.sets, table.shares, strict=True)
    )
    assert distance / 2 < 0.12


def test_every_genre_is_common_enough_to_learn(plan: list[tuple[str, ...]]) -> None:
    tracks_of = Counter(slug for labels in plan for slug in labels)
    assert min(tracks_of[slug] for slug in SLUGS) > 0.015 * TRACKS


def test_splits_have_their_shares() -> None:
    tracks = plan_tracks(TRACKS, seed=7)
    for split, share in SPLIT_SHARES.items():
        assert sum(track.split == split for track in tracks) == pytest.approx(
            share * TRACKS, abs=0.02 * TRACKS
        )


def test_artist_names_are_unique() -> None:
    tracks = plan_tracks(8_000, seed=7)
    runs = sum(one.artist != other.artist for one, other in pairwise(tracks)) + 1
    assert runs == len({track.artist for track in tracks})


def test_parents_are_added_to_labels_and_left_out_of_recipes() -> None:
    assert with_parents(["techno", "pop"]) == ("electronic", "techno", "pop")
    assert leaf_genres(("electronic", "techno", "pop")) == ("techno", "pop")
    assert leaf_genres(("electronic", "pop")) == ("electronic", "pop")
