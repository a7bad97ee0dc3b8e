"""The table in the package's docstring holds: which genres sound alike, and which sing alike."""

from itertools import combinations

import numpy as np
import pytest

from trainer.corpus.labels import SLUGS
from trainer.corpus.performance import Touch, perform
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


def test_some_genres_are_told_by_sound_and_words_together_only() -> None:
    neither = {
        slug
        for slug in SLUGS
        if any(RECIPES[other] is RECIPES[slug] for other in SLUGS if other != slug)
        and any(THEME_OF[other] == THEME_OF[slug] for other in SLUGS if other != slug)
    }
    assert neither == {"country", "funk", "pop", "punk-rock"}


@pytest.mark.parametrize("sung", [True, False])
@pytest.mark.parametrize("slug", SLUGS)
def test_every_genre_sounds(slug: str, sung: bool) -> None:
    rng = np.random.default_rng(0)
    waveform = perform((slug,), sung, Touch.drawn(rng), rng)
    assert waveform.shape == (SAMPLES,)
    assert waveform.dtype == np.float32
    assert 0.5 < np.abs(waveform).max() < 1
    assert np.sqrt(np.mean(waveform**2)) > 0.02


def test_lyrics_speak_of_their_theme_among_common_words() -> None:
    rng = np.random.default_rng(0)
    words = " ".join(write_lyrics(("metal",), ("door",), rng) for _ in range(20)).lower().split()

    def own(theme: str) -> int:
        vocabulary = THEMES[theme]
        return sum(word in {*vocabulary.nouns, *vocabulary.verbs, *vocabulary.adjectives} for word in words)

    assert max(THEMES, key=own) == "darkness"
    assert sum(word in {*COMMON.nouns, *COMMON.verbs, *COMMON.adjectives} for word in words) > own("darkness")
