import numpy as np
import pytest

from schemas.errors import ConfigError
from worker.models.batch_policy import BatchPolicy
from worker.models.model import ModelInput

POLICY = BatchPolicy(max_rows=4, max_tokens=192, bucket=lambda tokens: 16 if tokens <= 16 else 64)


def track(tokens: int, windows: int = 1) -> ModelInput:
    return ModelInput(np.zeros((windows, 8), np.float32), (1,) * tokens)


def test_a_batch_has_the_oldest_track_and_others_of_the_same_padded_length() -> None:
    assert POLICY.select([track(3), track(60), track(16), track(17), track(0)]) == [0, 2, 4]
    assert POLICY.select([track(60), track(3), track(17)]) == [0, 2]


def test_a_batch_does_not_exceed_the_maximum_rows() -> None:
    assert POLICY.select([track(1)] * 6) == [0, 1, 2, 3]
    assert POLICY.select([track(1, windows=3), track(1, windows=2), track(1)]) == [0]


def test_a_track_that_exceeds_a_batch_raises_at_the_start() -> None:
    POLICY.validate(windows=4, max_tokens=48)
    with pytest.raises(ConfigError, match="COGENRE_BATCH_ROWS to 5"):
        POLICY.validate(windows=5, max_tokens=16)
    with pytest.raises(ConfigError, match="COGENRE_BATCH_TOKENS to 256"):
        POLICY.validate(windows=4, max_tokens=64)


def test_long_lyrics_make_batches_small() -> None:
    assert POLICY.select([track(60)] * 6) == [0, 1, 2]
