"""A labelled split in numbers: its groups of tracks, and its genres. N = tracks, G = genres."""

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
from trainer.evaluation.bootstrap import Metrics, estimate, resample, together
from trainer.evaluation.calibration import calibration_error
from trainer.evaluation.findings import Curve, Estimate, GenreFinding, Group
from trainer.evaluation.metrics import decide, measure, told_apart

MOST_POINTS = 100
"""Of a precision-recall curve: a drawing shows no more."""


@dataclass(frozen=True)
class Labelled:
    """A split, and what the network says of it."""

    genres: Sequence[Genre]
    thresholds: Tensor
    """(G,)"""
    probabilities: Tensor
    """(N, G)"""
    lyrics_dropped: Tensor
    """(N, G), with every track's lyrics withheld."""
    labels: Tensor
    """(N, G) of 0 and 1."""
    has_lyrics: Tensor
    """(N,), bool"""

    @property
    def accepted(self) -> Tensor:
        return decide(self.probabilities, self.thresholds, self.genres)


class _Chosen(NamedTuple):
    """Some of the tracks, with lyrics or without."""

    rows: Tensor
    probabilities: Tensor


def measured(labelled: Labelled, resamples: int, seed: int) -> tuple[list[Group], list[GenreFinding]]:
    """Every group, all tracks first, and every genre."""
    everyone, has_lyrics = torch.ones_like(labelled.has_lyrics), labelled.has_lyrics
    with_lyrics, lyrics_dropped = labelled.probabilities, labelled.lyrics_dropped
    chosen = {
        "all tracks": _Chosen(everyone, with_lyrics),
        "all tracks, lyrics withheld": _Chosen(everyone, lyrics_dropped),
        "tracks with lyrics": _Chosen(has_lyrics, with_lyrics),
        "tracks with lyrics, withheld": _Chosen(has_lyrics, lyrics_dropped),
        "tracks without lyrics": _Chosen(~has_lyrics, with_lyrics),
    }
    chosen = {name: group for name, group in chosen.items() if group.rows.any()}
    groups: list[Group] = []
    resampled: list[Metrics] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("Resampling", total=len(chosen) * resamples)
        for name, (rows, scores) in chosen.items():
            probabilities, labels = scores[rows], labelled.labels[rows]
            accepted = decide(probabilities, labelled.thresholds, labelled.genres)
            parts = []
            for part in resample(probabilities, accepted, labels, resamples, seed):
                parts.append(part)
                progress.advance(task, len(part.tracks["f1"]))
            resampled.append(together(parts))
            groups.append(_group(name, probabilities, accepted, labels, resampled[-1]))
    return groups, _genres(labelled, resampled[0], resampled[1])


def _group(name: str, probabilities: Tensor, accepted: Tensor, labels: Tensor, resampled: Metrics) -> Group:
    values = measure(probabilities, accepted, labels)
    metrics = {metric: estimate(value, resampled.tracks[metric]) for metric, value in values.items()}
    return Group(name=name, tracks=len(labels), metrics=metrics)


def _genres(labelled: Labelled, resampled: Metrics, without: Metrics) -> list[GenreFinding]:
    labels, accepted = labelled.labels.long(), labelled.accepted
    f1 = multilabel_f1_score(accepted.long(), labels, len(labelled.genres), average="none").tolist()
    has_curve = told_apart(labels).tolist()
    findings = []
    for number, genre in enumerate(labelled.genres):
        scores, unread, truth, given = (
            part[:, number] for part in (labelled.probabilities, labelled.lyrics_dropped, labels, accepted)
        )
        hits, have, are_given = (int(part.sum()) for part in (truth * given, truth, given))
        average_precision = resampled.genres["average_precision"][:, number]
        findings.append(
            GenreFinding(
                genre=genre,
                tracks=have,
                accepted=are_given,
                threshold=float(labelled.thresholds[number]),
                precision=hits / are_given if are_given else None,
                recall=hits / have if have else None,
                f1=estimate(f1[number] if have else None, resampled.genres["f1"][:, number]),
                average_precision=_ranked(binary_average_precision, scores, truth, average_precision),
                average_precision_lyrics_dropped=_ranked(
                    binary_average_precision, unread, truth, without.genres["average_precision"][:, number]
                ),
                roc_auc=_ranked(binary_auroc, scores, truth, resampled.genres["roc_auc"][:, number]),
                calibration_error=calibration_error(scores, truth),
                curve=_curve(scores, truth) if has_curve[number] else None,
            )
        )
    return findings


def _ranked(
    metric: Callable[[Tensor, Tensor], Tensor], scores: Tensor, truth: Tensor, resampled: Tensor
) -> Estimate:
    defined = bool(truth.any()) and not bool(truth.all())
    return estimate(float(metric(scores, truth)) if defined else None, resampled)


def _curve(scores: Tensor, truth: Tensor) -> Curve:
    precision, recall, _ = binary_precision_recall_curve(scores, truth)
    precision, recall = precision.flip(0), recall.flip(0).contiguous()
    # Evenly along the recall: most thresholds of a rare genre lie where nothing is gained any more.
    points = torch.searchsorted(recall, torch.linspace(0, 1, MOST_POINTS)).unique()
    return Curve(precision=_rounded(precision[points]), recall=_rounded(recall[points]))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
