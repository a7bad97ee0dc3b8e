"""Confusions and genre graphs compared with values computed by hand."""

import torch

from schemas.bundle import Genre
from trainer.evaluation.findings import Confusion
from trainer.evaluation.genre_pairs import compare_graphs, count_confusions

GENRES = tuple(Genre(slug=slug, name=slug) for slug in ("rock", "pop", "jazz"))
LABELS = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.float32)


def test_a_confusion_is_a_missed_genre_and_one_predicted_instead() -> None:
    accepted = torch.tensor([[0, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]]).bool()
    assert count_confusions(accepted, LABELS, GENRES) == (
        Confusion(missed="rock", predicted="pop", tracks=2, share=0.666667),
        Confusion(missed="rock", predicted="jazz", tracks=1, share=0.333333),
    )


def test_correct_labels_have_no_confusions() -> None:
    assert count_confusions(LABELS.bool(), LABELS, GENRES) == ()


def test_graphs() -> None:
    correlations = torch.tensor([[1, 0.25, 0], [0.5, 1, 0], [0, 0, 1]])
    found = compare_graphs(correlations, torch.tensor([[1.0, 0], [0, 2], [3, 3]]), LABELS)
    assert found.correlations == ((1, 0.25, 0), (0.5, 1, 0), (0, 0, 1))
    assert found.learned == ((1, 0, 0.7071), (0, 1, 0.7071), (0.7071, 0.7071, 1))
    # One of three rock tracks is pop, one of two pop tracks is rock; no track is jazz.
    assert found.observed == ((1, 0.3333, 0), (0.5, 1, 0), (None, None, None))
