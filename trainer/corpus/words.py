"""A track's lyrics: lines with words of its genres' themes, in verses and choruses."""

import numpy as np

from trainer.corpus.labels import LabelSet
from trainer.corpus.themes import COMMON, THEME_OF, THEMES, Vocabulary

INSTRUMENTAL_CHANCE = {
    "ambient": 0.8,
    "classical": 0.8,
    "techno": 0.5,
    "jazz": 0.35,
    "electronic": 0.3,
    "house": 0.25,
}
"""Probability that a track of the genre has no voice and no lyrics."""

DEFAULT_INSTRUMENTAL_CHANCE = 0.05
"""The same for genres that are not listed above."""

THEME_WORD_PROBABILITY = 0.55
"""Probability that a noun, verb or adjective comes from the theme. Otherwise it is a common word."""

OFF_THEME_PROBABILITY = 0.15
"""Probability that a line has a random theme instead of one of the track's own."""

HEADED_SHARE = 0.3
"""Share of lyrics with section headers, which many transcripts have."""

LINES = (
    # {n} a noun, {v} a verb, {a} an adjective
    "{n} in the {n}",
    "i {v} the {a} {n}",
    "and the {n} is {a}",
    "oh {a} {n}",
    "we {v} and we {v}",
    "you {v} me like a {n}",
    "there's a {a} {n} in my {n}",
    "don't {v} the {n} tonight",
    "all the {n} and the {n}",
    "never {v} never {v}",
    "when the {n} comes i {v}",
    "under the {a} {n}",
    "they {v} but i {v}",
    "give me your {n}",
    "yeah we {v} till the {n}",
    "no more {n} no more {n}",
)


def is_instrumental(genres: LabelSet, rng: np.random.Generator) -> bool:
    """Return whether a track has no lyrics, drawn with the mean probability of its genres."""
    probabilities = [INSTRUMENTAL_CHANCE.get(slug, DEFAULT_INSTRUMENTAL_CHANCE) for slug in genres]
    return bool(rng.random() < np.mean(probabilities))


def write_lyrics(genres: LabelSet, artist_nouns: tuple[str, ...], rng: np.random.Generator) -> str:
    """Return two to four verses, each followed by the chorus. `artist_nouns` are the artist's own words."""
    headed = rng.random() < HEADED_SHARE
    chorus = _section(genres, artist_nouns, rng)
    sections = []
    for verse in range(1, int(rng.integers(2, 5)) + 1):
        sections.append(("Verse " + str(verse), _section(genres, artist_nouns, rng)))
        sections.append(("Chorus", chorus))
    return "\n".join(f"[{title}]\n{lines}" if headed else lines for title, lines in sections)


def write_title(rng: np.random.Generator) -> str:
    """Return a title of common words only, so that it does not identify the genre."""
    return f"{rng.choice(COMMON.adjectives)} {rng.choice(COMMON.nouns)}".title()


def _section(genres: LabelSet, artist_nouns: tuple[str, ...], rng: np.random.Generator) -> str:
    """Return four lines, each with a theme of one of the genres."""
    themes = [THEME_OF[slug] for slug in genres]
    lines = []
    for _ in range(4):
        name = rng.choice(list(THEMES) if rng.random() < OFF_THEME_PROBABILITY else themes)
        lines.append(_line(THEMES[str(name)], artist_nouns, rng))
    return "\n".join(lines) + "\n"


def _line(theme: Vocabulary, artist_nouns: tuple[str, ...], rng: np.random.Generator) -> str:
    words = []
    for word in str(rng.choice(LINES)).split():
        match word:
            case "{n}":
                nouns = artist_nouns if rng.random() < 0.1 else _draw_source(theme.nouns, COMMON.nouns, rng)
                words.append(str(rng.choice(nouns)))
            case "{v}":
                words.append(str(rng.choice(_draw_source(theme.verbs, COMMON.verbs, rng))))
            case "{a}":
                words.append(str(rng.choice(_draw_source(theme.adjectives, COMMON.adjectives, rng))))
            case _:
                words.append(word)
    return " ".join(words).capitalize()


def _draw_source(
    theme_words: tuple[str, ...], common: tuple[str, ...], rng: np.random.Generator
) -> tuple[str, ...]:
    """Return the words that the next word is drawn from."""
    return theme_words if rng.random() < THEME_WORD_PROBABILITY else common
