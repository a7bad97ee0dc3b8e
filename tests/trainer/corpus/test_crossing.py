"""Crossed tracks: the genres of a pair cannot be identified from sound, from lyrics, or from their sum."""

from collections import Counter

from trainer.corpus.crossing import CROSSED, crossing_sources
from trainer.corpus.labels import SLUGS
from trainer.corpus.plan import plan_tracks
from trainer.corpus.recipes import RECIPES
from trainer.corpus.themes import THEME_OF

UNCROSSED = {slug: (slug, slug) for slug in SLUGS}


def cell(sound: str, words: str) -> tuple[int, str]:
    return id(RECIPES[sound]), THEME_OF[words]


def test_every_pair_of_sound_and_theme_identifies_one_genre() -> None:
    cells = Counter(cell(*sources) for sources in [*UNCROSSED.values(), *CROSSED.values()])
    assert max(cells.values()) == 1


def test_crossed_genres_form_pairs_with_exchanged_sounds_or_lyrics() -> None:
    """As in an exclusive or: a second sound swaps the words of two genres, or a second theme their sounds."""
    for slug in CROSSED:
        cells = {cell(*UNCROSSED[slug]), cell(*CROSSED[slug])}
        (sound, words), (other_sound, other_words) = cells
        exchanged = {(sound, other_words), (other_sound, words)}
        assert any({cell(*UNCROSSED[partner]), cell(*CROSSED[partner])} == exchanged for partner in CROSSED)


def test_crossing_does_not_change_artists_titles_genres_and_splits() -> None:
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


def test_half_of_the_crossable_tracks_are_crossed_and_all_crossed_tracks_are_sung() -> None:
    tracks = plan_tracks(2000, seed=7, crossing=0.5)
    crossable = [track for track in tracks if set(track.genres) & set(CROSSED)]
    share = sum(track.crossed for track in crossable) / len(crossable)
    assert 0.4 < share < 0.55
    assert all(track.sung for track in tracks if track.crossed)


def test_genres_that_are_never_crossed_keep_their_sound_and_lyrics() -> None:
    assert crossing_sources(("rock", "folk")) == (("rock", "blues"), ("rock", "country"))
