from typing import Any

import numpy as np
import pytest

from schemas.bundle import Genre
from schemas.labels import Label, LabelRule, sigmoid


@pytest.fixture
def rule() -> LabelRule:
    genres = (
        Genre(slug="rock", name="Rock"),
        Genre(slug="metal", name="Metal", parent="rock"),
        Genre(slug="doom", name="Doom", parent="metal"),
        Genre(slug="jazz", name="Jazz"),
    )
    return LabelRule(genres, (0.6, 0.5, 0.4, 0.25))


def scores(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_a_genre_is_accepted_at_its_own_threshold(rule: LabelRule) -> None:
    assert rule.select_labels(scores(0.59, 0, 0, 0.25)) == [Label(3, 0.25)]


def test_parents_are_added_with_at_least_the_childs_score(rule: LabelRule) -> None:
    labels = rule.select_labels(scores(0.1, 0.45, 0.75, 0))
    assert {label.genre: label.score for label in labels} == {0: 0.75, 1: 0.75, 2: 0.75}


def test_a_parent_keeps_its_own_score_if_it_is_higher(rule: LabelRule) -> None:
    labels = rule.select_labels(scores(0.875, 0.5, 0, 0))
    assert labels == [Label(0, 0.875), Label(1, 0.5)]


def test_a_track_can_have_no_labels(rule: LabelRule) -> None:
    assert rule.select_labels(scores(0, 0, 0, 0)) == []


def test_several_tracks_get_the_same_genres_as_each_track_separately(rule: LabelRule) -> None:
    tracks = np.random.default_rng(0).random((500, 4), dtype=np.float32)
    accepted = rule.accept_genres(tracks)
    assert [set(np.flatnonzero(row).tolist()) for row in accepted] == [
        {label.genre for label in rule.select_labels(track)} for track in tracks
    ]
    assert len(np.unique(accepted, axis=0)) > 4


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert sigmoid(scores(-1000, 0, 1000)) == pytest.approx([0, 0.5, 1])
