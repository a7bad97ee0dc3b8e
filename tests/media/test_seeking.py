"""Long files: windows lie where they should, and little else is read."""

from pathlib import Path

import numpy as np
import pytest

from media import decode
from media.decode import decode_windows
from media.source import BytesSource
from schemas.bundle import AudioInput
from tests.audio import encode, pitch, remux, sweep, with_id3_picture

pytestmark = pytest.mark.heavy  # encodes long files

RATE = 8_000
SECONDS = 660
FAST = {"compression_level": "9"}
VARIABLE = FAST | {"flags": "+qscale", "global_quality": "472"}
WINDOWS = AudioInput(sample_rate=RATE, window_seconds=10, windows=3, picking="spread")
ONE_WINDOW = AudioInput(sample_rate=22_050, window_seconds=30, windows=1, picking="spread")

FORMATS = {
    # name: container, codec, options, whether the windows are reached by seeking, seconds they may be off
    "wav": ("wav", "pcm_s16le", {}, True, 0.3),
    "flac": ("flac", "flac", {}, True, 0.3),
    "opus": ("ogg", "libopus", {"compression_level": "0"}, True, 0.3),
    "mp3 constant": ("mp3", "libmp3lame", FAST, True, 0.3),
    "mp3 variable": ("mp3", "libmp3lame", VARIABLE, True, SECONDS / 256 + 0.3),
    "mp4, index at the end": ("mp4", "aac", {"aac_coder": "fast"}, True, 0.3),
}
REMUXED = {
    "mp3 constant, no table": ("mp3 constant", "mp3", {"write_xing": "0"}, True, 0.3),
    "mp3 variable, no table": ("mp3 variable", "mp3", {"write_xing": "0"}, False, 0.3),
    "aac": ("mp4, index at the end", "adts", {}, False, 0.3),
    "mp4, index in front": ("mp4, index at the end", "mp4", {"movflags": "faststart"}, True, 0.3),
    "mp4, in fragments": (
        "mp4, index at the end",
        "mp4",
        {"movflags": "frag_keyframe+empty_moov"},
        True,
        0.3,
    ),
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Eleven minutes that rise by 2 Hz a second, every other one noisy, so that the bit rate varies."""
    sound = sweep(SECONDS, RATE, rise=2)
    noise = np.random.default_rng(0).normal(0, 0.1, sound.shape)
    sound += (noise * (np.arange(sound.shape[1]) // RATE // 60 % 2)).astype(np.float32)
    files = {
        name: encode(sound, RATE, container, codec, options)
        for name, (container, codec, options, *_) in FORMATS.items()
    }
    folder = tmp_path_factory.mktemp("remuxed")
    for name, (of, container, options, *_) in REMUXED.items():
        files[name] = remux(files[of], container, folder, options)
    return files


@pytest.mark.parametrize("name", [*FORMATS, *REMUXED])
def test_windows_of_a_long_file_lie_where_they_should(
    encoded: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decode._decode_from_start
    decoded_whole = []
    monkeypatch.setattr(
        decode,
        "_decode_from_start",
        lambda *of: decoded_whole.append(True) or whole(*of),  # type: ignore[func-returns-value]
    )
    clip = decode_windows(encoded[name], WINDOWS)
    *_, by_seeking, off = (FORMATS | REMUXED)[name]
    assert clip.seconds == pytest.approx(SECONDS, abs=0.3)
    seconds_of_pitch = [(pitch(window[4 * RATE : 6 * RATE], RATE) - 200) / 2 for window in clip.windows]
    assert seconds_of_pitch == pytest.approx([110, 330, 550], abs=off)
    assert bool(decoded_whole) != by_seeking


class _Counted:
    def __init__(self, content: bytes) -> None:
        self._source = BytesSource(content)
        self.size = len(content)
        self.read = 0
        self.requests = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.read += length
        self.requests += 1
        return self._source.read_at(offset, length)


@pytest.fixture(scope="module")
def noise() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (2, 300 * 44_100)).astype(np.float32)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_a_window_of_a_large_file_costs_a_small_part_of_it(
    name: str, noise: np.ndarray[tuple[int, ...], np.dtype[np.float32]], tmp_path: Path
) -> None:
    if name == "mp3":
        part = encode(noise[:, : 30 * 44_100], 44_100, "mp3", "libmp3lame", FAST | {"b": "320000"})
        content = with_id3_picture(
            remux(part, "mp3", tmp_path, {"write_xing": "0", "id3v2_version": "0"}) * 20, 5_000_000
        )
    else:
        content = encode(noise, 44_100, name, {"wav": "pcm_s16le"}.get(name, name))
    file = _Counted(content)
    assert file.size > 25_000_000
    assert decode_windows(file, ONE_WINDOW).windows.shape == (1, 30 * 22_050)
    assert file.read < 0.15 * file.size
    assert file.requests < 25
