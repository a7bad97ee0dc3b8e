"""A network's probabilities and metrics on a split, with lyrics and with lyrics dropped."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from schemas.bundle import Genre, Measurement
from trainer.data.track import Split
from trainer.evaluation.metrics import accept_genres, best_f1_thresholds, compute_metrics, mean_over_windows
from trainer.features.features import Features, Windows
from trainer.network.network import Network

BATCH_WINDOWS = 64
"""Windows per batch. Halved while the device has too little memory."""

LYRICS_DROPPED = "lyrics dropped"


@torch.no_grad()
def predict(
    network: Network, features: Features, with_lyrics: bool = True, batch_windows: int = BATCH_WINDOWS
) -> Tensor:
    """Return probabilities (tracks, genres): the mean over each track's windows."""
    training = network.training
    network.eval()
    try:
        windows = _predict_windows(network, features, with_lyrics, batch_windows)
    except torch.OutOfMemoryError:
        if batch_windows == 1:
            raise
        windows = None
    finally:
        network.train(training)
    if windows is None:
        # Retried outside of `except`: there the exception still holds the memory.
        return predict(network, features, with_lyrics, batch_windows // 2)
    return mean_over_windows(windows, torch.from_numpy(features.track_row))


def _predict_windows(network: Network, features: Features, with_lyrics: bool, batch_windows: int) -> Tensor:
    """Return probabilities (windows, genres)."""
    device = network.log_scale.device
    genre_vectors = network.genre_vectors()
    probabilities = []
    for log_mel, lyrics, mask, _ in DataLoader(Windows(features), batch_size=batch_windows):
        used_mask = (mask if with_lyrics else torch.zeros_like(mask)).to(device)
        hidden = network.hidden_states(lyrics.to(device), used_mask)
        output = network.classify(log_mel.to(device), hidden, used_mask, genre_vectors)
        probabilities.append(output.logits.sigmoid().cpu())
    return torch.cat(probabilities)


def choose_thresholds(network: Network, valid: Features, fixed: float | None) -> Tensor:
    """Return the thresholds (genres,): fitted on the validation split, or all `fixed` if it is given."""
    if fixed is not None:
        return torch.full((valid.labels.shape[1],), fixed)
    return best_f1_thresholds(predict(network, valid), valid.labels)


def measure_with_and_without_lyrics(
    network: Network,
    features: Features,
    split: Split,
    thresholds: Tensor,
    genres: Sequence[Genre],
    data_set: str,
) -> tuple[Measurement, Measurement]:
    """Return the metrics with lyrics, and those with every track's lyrics dropped."""

    def measure(name: str, with_lyrics: bool) -> Measurement:
        probabilities = predict(network, features, with_lyrics)
        accepted = accept_genres(probabilities, thresholds, genres)
        metrics = compute_metrics(probabilities, accepted, features.labels)
        return Measurement(data_set=data_set, split=name, tracks=len(features), metrics=metrics)

    return measure(split, True), measure(f"{split}, {LYRICS_DROPPED}", False)
