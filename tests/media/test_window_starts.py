import pytest

from media.decode import window_starts
from schemas.bundle import AudioInput


def audio(windows: int) -> AudioInput:
    return AudioInput(sample_rate=22_050, window_seconds=10, windows=windows, picking="spread")


def test_one_window_is_the_middle() -> None:
    assert window_starts(60, audio(1)) == [25]


def test_windows_lie_around_the_centres_of_equal_parts() -> None:
    assert window_starts(90, audio(3)) == [10, 40, 70]


def test_the_windows_cover_a_track_shorter_than_all_of_them() -> None:
    starts = window_starts(25, audio(5))
    assert starts[0] == 0
    assert starts[-1] == 15
    assert len(starts) == 3


@pytest.mark.parametrize("seconds", [0.5, 10])
def test_a_track_no_longer_than_a_window_gets_one_from_its_start(seconds: float) -> None:
    assert window_starts(seconds, audio(3)) == [0]
