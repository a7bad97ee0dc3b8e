"""Results by group and genre compared with torchmetrics on the same tracks."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from tests.trainer.evaluation.scored_split import GENRES, scored_split
from trainer.evaluation.findings import GenreFinding, Group
from trainer.evaluation.measure import MAX_CURVE_POINTS, ScoredSplit, measure_split
from trainer.evaluation.metrics import accept_genres, compute_metrics

SCORED = scored_split()


@pytest.fixture(scope="module")
def measured() -> tuple[list[Group], list[GenreFinding]]:
    return measure_split(SCORED, resamples=200, seed=0)


def test_every_group_is_measured_on_its_own_tracks(measured: tuple[list[Group], list[GenreFinding]]) -> None:
    everyone, lyrics = torch.ones(120, dtype=torch.bool), SCORED.has_lyrics
    expected: dict[str, tuple[Tensor, Tensor]] = {
        "all tracks": (everyone, SCORED.probabilities),
        "all tracks, lyrics dropped": (everyone, SCORED.lyrics_dropped),
        "tracks with lyrics": (lyrics, SCORED.probabilities),
        "tracks with lyrics, dropped": (lyrics, SCORED.lyrics_dropped),
        "tracks without lyrics": (~lyrics, SCORED.probabilities),
    }
    groups = {group.name: group for group in measured[0]}
    assert list(groups) == list(expected)
    for name, (rows, scores) in expected.items():
        accepted = accept_genres(scores[rows], SCORED.thresholds, GENRES)
        values = compute_metrics(scores[rows], accepted, SCORED.labels[rows])
        assert groups[name].tracks == int(rows.sum())
        assert {metric: one.value for metric, one in groups[name].metrics.items()} == values
    assert groups["all tracks"].tracks == 120


def test_intervals_contain_the_value_and_shrink_with_more_tracks(
    measured: tuple[list[Group], list[GenreFinding]],
) -> None:
    def width(groups: Sequence[Group]) -> float:
        one = groups[0].metrics["f1"]
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
        return one.high - one.low

    larger, _ = measure_split(scored_split(tracks=1_200), resamples=200, seed=0)
    assert width(larger) < width(measured[0]) / 2


@pytest.mark.parametrize(("without_lyrics", "groups"), [(0, 4), (120, 3)])
def test_a_group_without_tracks_is_left_out(without_lyrics: int, groups: int) -> None:
    measured, _ = measure_split(scored_split(without_lyrics=without_lyrics), resamples=2, seed=0)
    assert len(measured) == groups


def test_the_results_of_a_genre(measured: tuple[list[Group], list[GenreFinding]]) -> None:
    techno = measured[1][1]
    truth, accepted = SCORED.labels[:, 1].bool(), SCORED.probabilities[:, 1] >= 0.5
    hits = int((truth & accepted).sum())
    assert (techno.tracks, techno.accepted) == (int(truth.sum()), int(accepted.sum()))
    assert techno.precision == pytest.approx(hits / int(accepted.sum()))
    assert techno.recall == pytest.approx(hits / int(truth.sum()))
    assert techno.f1.value == pytest.approx(2 * hits / int(truth.sum() + accepted.sum()), abs=1e-6)
    for one, scores in (
        (techno.average_precision, SCORED.probabilities),
        (techno.average_precision_lyrics_dropped, SCORED.lyrics_dropped),
    ):
        expected = float(binary_average_precision(scores[:, 1], truth.long()))
        assert one.value == pytest.approx(expected, abs=1e-6)
        assert one.low is not None
        assert one.high is not None
        assert one.low < expected < one.high


def test_a_genre_that_no_track_has_is_undefined_and_not_zero(
    measured: tuple[list[Group], list[GenreFinding]],
) -> None:
    polka = measured[1][3]
    assert polka.tracks == 0
    assert polka.accepted > 0
    assert polka.recall is None
    assert polka.curve is None
    for one in (polka.f1, polka.average_precision, polka.roc_auc):
        assert (one.value, one.low, one.high) == (None, None, None)


def test_ranking_metrics_without_labels_are_undefined() -> None:
    without_genres = ScoredSplit(
        GENRES, SCORED.thresholds, SCORED.probabilities, SCORED.lyrics_dropped, torch.zeros(120, 4),
        SCORED.has_lyrics,
    )  # fmt: skip
    groups, _ = measure_split(without_genres, resamples=2, seed=0)
    assert groups[0].metrics["map"].value is None
    assert groups[0].metrics["f1"].value is not None


def test_a_curve_is_precision_and_recall_at_thresholds() -> None:
    labelled = scored_split(tracks=2_000)
    _, genres = measure_split(labelled, resamples=1, seed=0)
    curve = genres[1].curve
    assert curve is not None
    assert len(curve.recall) <= MAX_CURVE_POINTS
    assert list(curve.recall) == sorted(curve.recall)
    assert (curve.recall[0], curve.recall[-1]) == (0, 1)
    scores, truth = labelled.probabilities[:, 1], labelled.labels[:, 1].bool()
    expected = {
        (round(float(hits / truth.sum()), 4), round(float(hits / accepted.sum()), 4))
        for accepted in (scores >= threshold for threshold in scores)
        for hits in [(accepted & truth).sum()]
    }
    assert set(zip(curve.recall[1:], curve.precision[1:], strict=True)) <= expected
