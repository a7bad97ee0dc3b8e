"""Crossed tracks: neither sound nor words alone, nor their sum, tells the genres of a pair apart."""

from collections import Counter

from trainer.corpus.crossing import CROSSED, crossed
from trainer.corpus.labels import SLUGS
from trainer.corpus.plan import plan_tracks
from trainer.corpus.recipes import RECIPES
from trainer.corpus.themes import THEME_OF

HOME = {slug: (slug, slug) for slug in SLUGS}


def cell(sound: str, words: str) -> tuple[int, str]:
    return id(RECIPES[sound]), THEME_OF[words]


def test_every_pair_of_sound_and_words_means_one_genre() -> None:
    cells = Counter(cell(*school) for school in [*HOME.values(), *CROSSED.values()])
    assert max(cells.values()) == 1


def test_a_crossed_genre_has_what_another_has_the_other_way_round() -> None:
    """An exclusive or: a second sound swaps the words of two genres, or a second theme their sounds."""
    for slug in CROSSED:
        own = {cell(*HOME[slug]), cell(*CROSSED[slug])}
        (sound, words), (other_sound, other_words) = own
        exchanged = {(sound, other_words), (other_sound, words)}
        assert any({cell(*HOME[partner]), cell(*CROSSED[partner])} == exchanged for partner in CROSSED)


def test_without_crossing_the_plan_is_what_it_was() -> None:
    plain, mixed = plan_tracks(300, seed=7), plan_tracks(300, seed=7, crossing=0.5)
    assert not any(track.crossed for track in plain)
    for one, other in zip(plain, mixed, strict=True):
        assert (one.artist, one.title, one.genres, one.split) == (
            other.artist,
            other.title,
            other.genres,
            other.split,
        )
        assert one.sung == other.sung or other.crossed


def test_half_the_tracks_that_can_be_are_crossed_and_all_of_those_are_sung() -> None:
    tracks = plan_tracks(2000, seed=7, crossing=0.5)
    able = [track for track in tracks if set(track.genres) & set(CROSSED)]
    share = sum(track.crossed for track in able) / len(able)
    assert 0.4 < share < 0.55
    assert all(track.sung for track in tracks if track.crossed)


def test_genres_without_a_second_school_stay_as_they_are() -> None:
    assert crossed(("rock", "folk")) == (("rock", "blues"), ("rock", "country"))
