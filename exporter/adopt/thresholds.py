"""Fits the thresholds of an adopted model on labelled tracks that it was not trained on."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track as progress

from exporter.checks.scores import scores_of_graph
from media.errors import MediaError
from media.source import BytesSource
from schemas.bundle import INPUTS, AudioInput, Measurement
from trainer.data.library import Library
from trainer.errors import ManifestError, UnreadableFile
from trainer.evaluation.metrics import accept_genres, best_f1_thresholds, compute_metrics
from trainer.features.extract import decoder_pool

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedThresholds:
    """Fitted thresholds and the metrics with them."""

    thresholds: tuple[float, ...]
    """Probabilities, in the order of the genres."""
    measurement: Measurement
    """Metrics on the tracks that the thresholds were fitted on, and so better than on other tracks."""


def fit_thresholds(library: Library, audio: AudioInput, graph: Path) -> FittedThresholds:
    """Return thresholds fitted on the tracks of split valid, or on all tracks if none has a split.

    Raises ManifestError if fewer than two tracks can be read.
    """
    split = "valid" if any(track.split for track in library.tracks) else None
    tracks = [track for track in library.tracks if track.split == split]
    scores_of = scores_of_graph(graph)
    kept, rows = [], []
    with decoder_pool(1) as decoders:
        for track in progress(tracks, description="Fitting thresholds", transient=True):
            try:
                windows = decoders.decode(BytesSource(library.load_audio(track)), audio).windows
            except (MediaError, UnreadableFile) as error:
                log.warning("track %s is left out of the fit: %s", track.track_id, error)
                continue
            ids = np.zeros((len(windows), 1), np.int64)
            rows.append(scores_of(dict(zip(INPUTS, (windows, ids, ids), strict=True))).mean(0))
            kept.append(track)
    if len(kept) < 2:
        raise ManifestError(
            f"{library.folder}: {len(kept)} of {len(tracks)} tracks to fit thresholds on can be read; "
            "two are needed: check the files, see the warnings"
        )
    scores = torch.from_numpy(np.stack(rows)).float()
    labels = library.labels(kept)
    thresholds = best_f1_thresholds(scores, labels)
    metrics = compute_metrics(scores, accept_genres(scores, thresholds, library.genres), labels)
    measurement = Measurement(data_set=library.name, split=split or "all", tracks=len(kept), metrics=metrics)
    return FittedThresholds(tuple(map(float, thresholds)), measurement)
