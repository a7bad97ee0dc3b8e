"""The table in the package's docstring: which genres have the same sound, and which the same theme."""

from itertools import combinations

import numpy as np
import pytest

from trainer.corpus.labels import SLUGS
from trainer.corpus.performance import ArtistStyle, synthesise_track
from trainer.corpus.recipes import RECIPES
from trainer.corpus.signal import SAMPLES
from trainer.corpus.themes import COMMON, THEME_OF, THEMES
from trainer.corpus.words import write_lyrics


def test_genres_share_a_sound_or_a_theme_but_never_both() -> None:
    assert set(RECIPES) == set(THEME_OF) == set(SLUGS)
    pairs = list(combinations(SLUGS, 2))
    alike_in_sound = {pair for pair in pairs if RECIPES[pair[0]] is RECIPES[pair[1]]}
    alike_in_words = {pair for pair in pairs if THEME_OF[pair[0]] == THEME_OF[pair[1]]}
    assert alike_in_sound
    assert alike_in_words
    assert not alike_in_sound & alike_in_words


def test_some_genres_share_both_their_sound_and_their_theme_with_others() -> None:
    neither = {
        slug
        for slug in SLUGS
        if any(RECIPES[other] is RECIPES[slug] for other in SLUGS if other != slug)
        and any(THEME_OF[other] == THEME_OF[slug] for other in SLUGS if other != slug)
    }
    assert neither == {"country", "funk", "pop", "punk-rock"}


@pytest.mark.parametrize("sung", [True, False])
@pytest.mark.parametrize("slug", SLUGS)
def test_every_genre_has_audible_audio(slug: str, sung: bool) -> None:
    rng = np.random.default_rng(0)
    waveform = synthesise_track((slug,), sung, ArtistStyle.draw(rng), rng)
    assert waveform.shape == (SAMPLES,)
    assert waveform.dtype == np.float32
    assert 0.5 < np.abs(waveform).max() < 1
    assert np.sqrt(np.mean(waveform**2)) > 0.02


def test_lyrics_have_words_of_their_theme_and_common_words() -> None:
    rng = np.random.default_rng(0)
    words = " ".join(write_lyrics(("metal",), ("door",), rng) for _ in range(20)).lower().split()

    def count_words(theme: str) -> int:
        vocabulary = THEMES[theme]
        return sum(word in {*vocabulary.nouns, *vocabulary.verbs, *vocabulary.adjectives} for word in words)

    assert max(THEMES, key=count_words) == "darkness"
    assert sum(word in {*COMMON.nouns, *COMMON.verbs, *COMMON.adjectives} for word in words) > count_words(
        "darkness"
    )
