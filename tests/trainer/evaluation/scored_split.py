"""A split with generated scores, without a network."""

import torch

from schemas.bundle import Genre
from trainer.evaluation.measure import ScoredSplit

GENRES = (
    Genre(slug="electronic", name="Electronic"),
    Genre(slug="techno", name="Techno", parent="electronic"),
    Genre(slug="rnb", name="R&B <b>$oul$</b>"),
    Genre(slug="polka", name="Polka"),
)
"""No track has the genre polka."""


def scored_split(tracks: int = 120, without_lyrics: int = 40) -> ScoredSplit:
    """Return a split whose scores are correlated with the labels, and less so without lyrics."""
    chance = torch.Generator().manual_seed(0)
    labels = (torch.rand(tracks, 4, generator=chance) < torch.tensor([0.4, 0.3, 0.5, 0])).float()
    labels[:, 0] = labels[:, :2].amax(1)
    noise = torch.rand(tracks, 4, generator=chance)
    has_lyrics = torch.arange(tracks) >= without_lyrics
    lyrics_dropped = 0.3 * labels + 0.7 * noise
    probabilities = torch.where(has_lyrics[:, None], 0.6 * labels + 0.4 * noise, lyrics_dropped)
    return ScoredSplit(GENRES, torch.full((4,), 0.5), probabilities, lyrics_dropped, labels, has_lyrics)
