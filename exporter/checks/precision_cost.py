"""Measures what fp16 and int8 cost in labels compared with fp32, and refuses too high a cost."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.buckets import pad_to_bucket
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
from trainer.evaluation.metrics import compute_metrics
from trainer.features.extract import decoder_pool

MAX_MAP_LOSS = 0.005
"""Allowed decrease of the mAP, without --allow-loss."""
MAX_CHANGED_DECISIONS = 0.005
"""Allowed share of changed label decisions, without --allow-loss."""

SPLIT: Split = "valid"
"""The split that costs are measured on. Thresholds were fitted on it."""

Report = Callable[[str], None]
"""Is called with the name of the current step, to show progress."""

log = logging.getLogger(__name__)


def measure_costs_on_noise(
    checkpoint: Checkpoint, fp32: Path, others: Mapping[Precision, Path]
) -> dict[Precision, PrecisionCost]:
    """Compare graphs' label decisions on noise, which has no true labels and so no mAP. Raises GraphError."""
    cases = list(checkpoint_cases(checkpoint))

    def all_scores(graph: Path) -> NDArray[np.float64]:
        scores = scores_of_graph(graph)
        return np.concatenate([scores(feed) for feed in cases])

    before = all_scores(fp32)
    return {
        precision: PrecisionCost(
            data_set="noise",
            inputs=len(before),
            changed_decisions=_share_of_changes(checkpoint, before, all_scores(graph)),
            map_loss=None,
        )
        for precision, graph in others.items()
    }


def measure_costs_on_tracks(
    checkpoint: Checkpoint,
    library: Library,
    fp32: Path,
    others: Mapping[Precision, Path],
    report: Report = lambda _: None,
) -> dict[Precision, PrecisionCost]:
    """Compare graphs' label decisions and mAP on the validation split.

    A track's scores are the means of its windows. Tracks that cannot be read are logged and left out. Raises
    GraphError; ManifestError if no track can be read.
    """
    graph_files: dict[Precision, Path] = {"fp32": fp32, **others}
    graphs = {precision: scores_of_graph(graph) for precision, graph in graph_files.items()}
    means: dict[Precision, list[NDArray[np.float64]]] = {precision: [] for precision in graphs}
    kept: list[Track] = []
    tracks = library.in_split(SPLIT)
    for number, (track, feed) in enumerate(_feeds(checkpoint, library, tracks), start=1):
        report(f"measuring precisions, track {number} of {len(tracks)}")
        kept.append(track)
        for precision, scores in graphs.items():
            means[precision].append(scores(feed).mean(0))
    if not kept:
        raise ManifestError(
            f"{library.name}: no track of split {SPLIT} can be read, and the cost of "
            "precisions is measured on them: check the files"
        )
    truth = library.labels(kept)
    scores_of = {precision: np.stack(rows) for precision, rows in means.items()}
    map_of = {
        precision: compute_metrics(
            torch.from_numpy(scores), torch.from_numpy(_decisions(checkpoint, scores)), truth
        )["map"]
        for precision, scores in scores_of.items()
    }
    return {
        precision: PrecisionCost(
            data_set=f"{library.name}, {SPLIT}",
            inputs=len(kept),
            changed_decisions=_share_of_changes(checkpoint, scores_of["fp32"], scores_of[precision]),
            map_loss=round(map_of["fp32"] - map_of[precision], 6),
        )
        for precision in others
    }


def _feeds(checkpoint: Checkpoint, library: Library, tracks: list[Track]) -> Iterator[tuple[Track, Feed]]:
    """Yield each track that can be read, with its windows in one batch."""
    config = checkpoint.description.config.network
    tokenizer = checkpoint.tokenizer
    with decoder_pool(1) as decoders:
        for track in tracks:
            try:
                windows = decoders.decode(BytesSource(library.load_audio(track)), config.audio).windows
                text = library.load_lyrics(track, LyricsFilter(languages=config.languages))
            except (MediaError, UnreadableFile) as error:
                log.warning("track %s is left out of the measurement: %s", track.track_id, error)
                continue
            lyrics = pad_to_bucket(tokenizer.encode(text), config.max_tokens)
            rows = [np.repeat(row, len(windows), axis=0) for row in lyrics]
            yield track, dict(zip(INPUTS, (windows, *rows), strict=True))


def _share_of_changes(
    checkpoint: Checkpoint, before: NDArray[np.float64], after: NDArray[np.float64]
) -> float:
    """Return the share of label decisions that differ between `before` and `after` (inputs, genres)."""
    changed = _decisions(checkpoint, before) != _decisions(checkpoint, after)
    return float(changed.mean())


def _decisions(checkpoint: Checkpoint, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each genre is accepted, (inputs, genres), for probabilities of the same shape."""
    description = checkpoint.description
    return LabelRule(description.genres, description.thresholds).accept_genres(scores)


def check_cost(file: str, cost: PrecisionCost) -> None:
    """Raise LossError if a precision costs more than is allowed."""
    if cost.changed_decisions > MAX_CHANGED_DECISIONS or (cost.map_loss or 0) > MAX_MAP_LOSS:
        loss = "" if cost.map_loss is None else f" and costs {cost.map_loss:.4f} mAP"
        raise LossError(
            f"{file} changes {cost.changed_decisions:.2%} of the label decisions{loss} on {cost.data_set}; "
            f"at most {MAX_CHANGED_DECISIONS:.1%} and {MAX_MAP_LOSS} are allowed: leave it out, or "
            "add --allow-loss"
        )
