"""The examples that training draws from features."""

from pathlib import Path

import numpy as np
import torch

from tests.trainer.features.test_extract import extract_test
from trainer.checkpoint import Checkpoint
from trainer.features.features import RandomWindows


def test_each_access_draws_a_window_of_the_track(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    features = extract_test(manifest, checkpoint, tmp_path)
    examples = RandomWindows(features)
    assert len(examples) == len(features) == 12
    torch.manual_seed(0)
    for track in range(12):
        expected = [
            torch.from_numpy(mel.astype(np.float32)) for mel in features.log_mels[features.track_row == track]
        ]
        drawn = [examples[track][0] for _ in range(20)]
        assert all(any(torch.equal(mel, one) for one in expected) for mel in drawn)
        assert all(any(torch.equal(mel, one) for mel in drawn) for one in expected)
