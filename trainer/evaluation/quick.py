"""How good a network is on a split, with lyrics and without."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from schemas.bundle import Genre, Measurement
from trainer.data.track import Split
from trainer.evaluation.metrics import best_thresholds, decide, measure, track_means
from trainer.features.features import Features, Windows
from trainer.network.network import Network

BATCH = 64
"""Windows at once, unless the device has too little memory."""

LYRICS_DROPPED = "lyrics withheld"


@torch.no_grad()
def predict(
    network: Network, features: Features, with_lyrics: bool = True, windows_at_once: int = BATCH
) -> Tensor:
    """Probabilities (tracks, genres): the means over each track's windows."""
    training = network.training
    network.eval()
    try:
        windows = _of_windows(network, features, with_lyrics, windows_at_once)
    except torch.OutOfMemoryError:
        if windows_at_once == 1:
            raise
        windows = None
    finally:
        network.train(training)
    if windows is None:
        # Not where it was caught: there the error still holds the memory.
        return predict(network, features, with_lyrics, windows_at_once // 2)
    return track_means(windows, torch.from_numpy(features.track_row))


def _of_windows(network: Network, features: Features, with_lyrics: bool, windows_at_once: int) -> Tensor:
    """Probabilities (windows, genres)."""
    device = network.log_scale.device
    genre_vectors = network.genre_vectors()
    windows = []
    for log_mel, lyrics, mask, _ in DataLoader(Windows(features), batch_size=windows_at_once):
        read = (mask if with_lyrics else torch.zeros_like(mask)).to(device)
        hidden = network.hidden_states(lyrics.to(device), read)
        output = network.classify(log_mel.to(device), hidden, read, genre_vectors)
        windows.append(output.logits.sigmoid().cpu())
    return torch.cat(windows)


def thresholds_of(network: Network, valid: Features, fixed: float | None) -> Tensor:
    """(genres,): those that fit the validation split best, unless one is fixed."""
    if fixed is not None:
        return torch.full((valid.labels.shape[1],), fixed)
    return best_thresholds(predict(network, valid), valid.labels)


def measurements(
    network: Network,
    features: Features,
    split: Split,
    thresholds: Tensor,
    genres: Sequence[Genre],
    data_set: str,
) -> tuple[Measurement, Measurement]:
    """With lyrics, and with every track's lyrics withheld."""

    def measured(name: str, with_lyrics: bool) -> Measurement:
        probabilities = predict(network, features, with_lyrics)
        metrics = measure(probabilities, decide(probabilities, thresholds, genres), features.labels)
        return Measurement(data_set=data_set, split=name, tracks=len(features), metrics=metrics)

    return measured(split, True), measured(f"{split}, {LYRICS_DROPPED}", False)
