"""What a precision other than fp32 costs in labels, and whether that is too much."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.buckets import padded
from exporter.checks.cases import Feed
from exporter.checks.graph_parity import checkpoint_cases
from exporter.checks.scores import scores_of_graph
from exporter.errors import LossError
from media.errors import MediaError
from media.source import BytesSource
from schemas.bundle import INPUTS, LyricsFilter, Precision, PrecisionCost
from schemas.labels import LabelRule
from trainer.checkpoint import Checkpoint
from trainer.data.library import Library
from trainer.data.track import Split, Track
from trainer.errors import ManifestError, UnreadableFile
from trainer.evaluation.metrics import measure
from trainer.features.extract import decoder_pool

MAP_LOSS = 0.005
CHANGED_DECISIONS = 0.005
"""What a precision may cost at most, unless told otherwise."""

SPLIT: Split = "valid"
"""On which costs are measured: thresholds were fitted on it."""

Say = Callable[[str], None]
"""Told how far a long job is."""

log = logging.getLogger(__name__)


def costs_on_noise(
    checkpoint: Checkpoint, fp32: Path, others: Mapping[Precision, Path]
) -> dict[Precision, PrecisionCost]:
    """Compare graphs' labels on windows of noise, whose labels nobody knows. Raises GraphError."""
    cases = list(checkpoint_cases(checkpoint))

    def every(graph: Path) -> NDArray[np.float64]:
        scores = scores_of_graph(graph)
        return np.concatenate([scores(feed) for feed in cases])

    before = every(fp32)
    return {
        precision: PrecisionCost(
            data_set="noise",
            inputs=len(before),
            changed_decisions=_changed(checkpoint, before, every(graph)),
            map_loss=None,
        )
        for precision, graph in others.items()
    }


def costs_on_tracks(
    checkpoint: Checkpoint,
    library: Library,
    fp32: Path,
    others: Mapping[Precision, Path],
    say: Say = lambda _: None,
) -> dict[Precision, PrecisionCost]:
    """Compare graphs' labels and mAP on the validation split: a track's scores are its windows' means.

    A track whose files are bad is reported and left out. Raises GraphError, and ManifestError where none
    can be read.
    """
    every: dict[Precision, Path] = {"fp32": fp32, **others}
    graphs = {precision: scores_of_graph(graph) for precision, graph in every.items()}
    means: dict[Precision, list[NDArray[np.float64]]] = {precision: [] for precision in graphs}
    kept: list[Track] = []
    tracks = library.in_split(SPLIT)
    for number, (track, feed) in enumerate(_feeds(checkpoint, library, tracks), start=1):
        say(f"measuring precisions, track {number} of {len(tracks)}")
        kept.append(track)
        for precision, scores in graphs.items():
            means[precision].append(scores(feed).mean(0))
    if not kept:
        raise ManifestError(
            f"{library.name}: no track of split {SPLIT} can be read; precisions are measured on them"
        )
    truth = library.labels(kept)
    found = {precision: np.stack(rows) for precision, rows in means.items()}
    map_of = {
        precision: measure(torch.from_numpy(scores), torch.from_numpy(_decisions(checkpoint, scores)), truth)[
            "map"
        ]
        for precision, scores in found.items()
    }
    return {
        precision: PrecisionCost(
            data_set=f"{library.name}, {SPLIT}",
            inputs=len(kept),
            changed_decisions=_changed(checkpoint, found["fp32"], found[precision]),
            map_loss=round(map_of["fp32"] - map_of[precision], 6),
        )
        for precision in others
    }


def _feeds(checkpoint: Checkpoint, library: Library, tracks: list[Track]) -> Iterator[tuple[Track, Feed]]:
    """Each track that can be read, with its windows in one batch."""
    config = checkpoint.description.config.network
    tokenizer = checkpoint.tokenizer
    with decoder_pool(1) as decoders:
        for track in tracks:
            try:
                windows = decoders.decode(BytesSource(library.load_audio(track)), config.audio).windows
                words = library.load_lyrics(track, LyricsFilter(languages=config.languages))
            except (MediaError, UnreadableFile) as error:
                log.warning("track %s is left out: %s", track.track_id, error)
                continue
            lyrics = padded(tokenizer.encode(words), config.max_tokens)
            rows = [np.repeat(row, len(windows), axis=0) for row in lyrics]
            yield track, dict(zip(INPUTS, (windows, *rows), strict=True))


def _changed(checkpoint: Checkpoint, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    changed = _decisions(checkpoint, before) != _decisions(checkpoint, after)
    return float(changed.mean())


def _decisions(checkpoint: Checkpoint, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the accepted genres (inputs, genres)."""
    description = checkpoint.description
    return LabelRule(description.genres, description.thresholds).accept_genres(scores)


def refuse_loss(file: str, cost: PrecisionCost) -> None:
    """Raises LossError where a precision costs more than is allowed."""
    if cost.changed_decisions > CHANGED_DECISIONS or (cost.map_loss or 0) > MAP_LOSS:
        loss = "" if cost.map_loss is None else f" and costs {cost.map_loss:.4f} mAP"
        raise LossError(
            f"{file} changes {cost.changed_decisions:.2%} of the label decisions{loss} on {cost.data_set}; "
            f"at most {CHANGED_DECISIONS:.1%} and {MAP_LOSS} are allowed: leave it out, or add --allow-loss"
        )
