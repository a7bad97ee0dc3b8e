"""The results of a scored split, by group of tracks and by genre. N = tracks, G = genres."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from rich.progress import Progress
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_precision_recall_curve,
    multilabel_f1_score,
)

from schemas.bundle import Genre
from trainer.evaluation.bootstrap import Metrics, concatenate_parts, make_estimate, resample_metrics
from trainer.evaluation.calibration import calibration_error
from trainer.evaluation.findings import Curve, Estimate, GenreFinding, Group
from trainer.evaluation.metrics import accept_genres, compute_metrics, has_both_classes

MAX_CURVE_POINTS = 100
"""Points of a precision-recall curve: more are not visible in the chart."""


@dataclass(frozen=True)
class ScoredSplit:
    """A split's labels, and the network's probabilities for its tracks."""

    genres: Sequence[Genre]
    thresholds: Tensor
    """Probability at which each genre is accepted, (G,)."""
    probabilities: Tensor
    """Probabilities with lyrics, (N, G)."""
    lyrics_dropped: Tensor
    """Probabilities with every track's lyrics dropped, (N, G)."""
    labels: Tensor
    """True genres, (N, G) of 0 and 1."""
    has_lyrics: Tensor
    """(N,) bool."""

    @property
    def accepted(self) -> Tensor:
        """The accepted genres, (N, G), bool."""
        return accept_genres(self.probabilities, self.thresholds, self.genres)


class _Subset(NamedTuple):
    """A group of tracks, and their probabilities with lyrics or without."""

    rows: Tensor
    """Which tracks are in the group, (N,) bool."""
    probabilities: Tensor
    """Probabilities of all tracks, (N, G)."""


def measure_split(scored: ScoredSplit, resamples: int, seed: int) -> tuple[list[Group], list[GenreFinding]]:
    """Return the results of every group that has tracks (all tracks first), and of every genre."""
    everything, has_lyrics = torch.ones_like(scored.has_lyrics), scored.has_lyrics
    with_lyrics, lyrics_dropped = scored.probabilities, scored.lyrics_dropped
    subsets = {
        "all tracks": _Subset(everything, with_lyrics),
        "all tracks, lyrics dropped": _Subset(everything, lyrics_dropped),
        "tracks with lyrics": _Subset(has_lyrics, with_lyrics),
        "tracks with lyrics, dropped": _Subset(has_lyrics, lyrics_dropped),
        "tracks without lyrics": _Subset(~has_lyrics, with_lyrics),
    }
    subsets = {name: subset for name, subset in subsets.items() if subset.rows.any()}
    groups: list[Group] = []
    resampled: list[Metrics] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("Resampling", total=len(subsets) * resamples)
        for name, (rows, scores) in subsets.items():
            probabilities, labels = scores[rows], scored.labels[rows]
            accepted = accept_genres(probabilities, scored.thresholds, scored.genres)
            parts = []
            for part in resample_metrics(probabilities, accepted, labels, resamples, seed):
                parts.append(part)
                progress.advance(task, len(part.tracks["f1"]))
            resampled.append(concatenate_parts(parts))
            groups.append(_measure_group(name, probabilities, accepted, labels, resampled[-1]))
    return groups, _measure_genres(scored, resampled[0], resampled[1])


def _measure_group(
    name: str, probabilities: Tensor, accepted: Tensor, labels: Tensor, resampled: Metrics
) -> Group:
    values = compute_metrics(probabilities, accepted, labels)
    metrics = {metric: make_estimate(value, resampled.tracks[metric]) for metric, value in values.items()}
    return Group(name=name, tracks=len(labels), metrics=metrics)


def _measure_genres(
    scored: ScoredSplit, resampled: Metrics, resampled_lyrics_dropped: Metrics
) -> list[GenreFinding]:
    labels, accepted = scored.labels.long(), scored.accepted
    f1 = multilabel_f1_score(accepted.long(), labels, len(scored.genres), average="none").tolist()
    has_curve = has_both_classes(labels).tolist()
    findings = []
    for number, genre in enumerate(scored.genres):
        scores, scores_lyrics_dropped, truth, predicted = (
            part[:, number] for part in (scored.probabilities, scored.lyrics_dropped, labels, accepted)
        )
        hits, positives, accepts = (int(part.sum()) for part in (truth * predicted, truth, predicted))
        average_precision, average_precision_lyrics_dropped = (
            metrics.genres["average_precision"][:, number]
            for metrics in (resampled, resampled_lyrics_dropped)
        )
        findings.append(
            GenreFinding(
                genre=genre,
                tracks=positives,
                accepted=accepts,
                threshold=float(scored.thresholds[number]),
                precision=hits / accepts if accepts else None,
                recall=hits / positives if positives else None,
                f1=make_estimate(f1[number] if positives else None, resampled.genres["f1"][:, number]),
                average_precision=_estimate_ranking(
                    binary_average_precision, scores, truth, average_precision
                ),
                average_precision_lyrics_dropped=_estimate_ranking(
                    binary_average_precision, scores_lyrics_dropped, truth, average_precision_lyrics_dropped
                ),
                roc_auc=_estimate_ranking(
                    binary_auroc, scores, truth, resampled.genres["roc_auc"][:, number]
                ),
                calibration_error=calibration_error(scores, truth),
                curve=_precision_recall_curve(scores, truth) if has_curve[number] else None,
            )
        )
    return findings


def _estimate_ranking(
    metric: Callable[[Tensor, Tensor], Tensor], scores: Tensor, truth: Tensor, resampled: Tensor
) -> Estimate:
    """Return the metric of one genre's scores; undefined if all tracks have the genre, or none has it."""
    defined = bool(truth.any()) and not bool(truth.all())
    return make_estimate(float(metric(scores, truth)) if defined else None, resampled)


def _precision_recall_curve(scores: Tensor, truth: Tensor) -> Curve:
    precision, recall, _ = binary_precision_recall_curve(scores, truth)
    precision, recall = precision.flip(0), recall.flip(0).contiguous()
    # Points are spread evenly over recall: most thresholds of a rare genre lie where recall no longer rises.
    points = torch.searchsorted(recall, torch.linspace(0, 1, MAX_CURVE_POINTS)).unique()
    return Curve(precision=_round_values(precision[points]), recall=_round_values(recall[points]))


def _round_values(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
