import errno
import io

import av
import numpy as np
import pytest

from media import decode
from media.decode import decode_windows
from media.errors import CorruptAudio, MediaError, ShortAudio, SilentAudio, UnsupportedAudio
from schemas.bundle import AudioInput
from tests.audio import encode, pitch, sweep, tone, with_id3_picture
from tests.conftest import SHARED

RATE = 22_050
CODECS = [
    ("wav", "pcm_s16le", 44_100),
    ("wav", "pcm_u8", 11_025),
    ("wav", "pcm_f32le", 44_100),
    ("flac", "flac", 96_000),
    ("mp3", "libmp3lame", 44_100),
    ("ogg", "libopus", 48_000),
    ("mp4", "aac", 44_100),
    ("adts", "aac", 44_100),
]


def audio(windows: int = 1, seconds: float = 2.0) -> AudioInput:
    return AudioInput(sample_rate=RATE, window_seconds=seconds, windows=windows, picking="spread")


@pytest.mark.parametrize(("container", "codec", "rate"), CODECS)
def test_every_codec_gives_the_tone_that_went_in(container: str, codec: str, rate: int) -> None:
    clip = decode_windows(encode(tone(3, rate, channels=2), rate, container, codec), audio())
    assert clip.windows.shape == (1, 2 * RATE)
    assert clip.windows.dtype == np.float32
    assert clip.seconds == pytest.approx(3, abs=0.1)
    assert pitch(clip.windows[0], RATE) == pytest.approx(440, abs=1)
    assert np.abs(clip.windows).max() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("container", "codec", "rate"), CODECS)
def test_windows_reached_by_seeking_lie_where_they_should(container: str, codec: str, rate: int) -> None:
    clip = decode_windows(encode(sweep(20, rate, rise=40), rate, container, codec), audio(windows=3))
    pitches = [pitch(window[RATE // 2 : RATE + RATE // 2], RATE) for window in clip.windows]
    middles = [20 / 6, 10, 100 / 6]
    assert pitches == pytest.approx([200 + 40 * middle for middle in middles], abs=8)


@pytest.mark.parametrize(("container", "codec", "rate"), CODECS)
def test_seeking_and_decoding_from_the_start_agree(
    container: str, codec: str, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encode(sweep(20, rate, rise=40), rate, container, codec)
    sought = decode_windows(encoded, audio(windows=2))
    monkeypatch.setattr(decode, "_decode_by_seeking", lambda *_: None)
    whole = decode_windows(encoded, audio(windows=2))
    for one, other in zip(sought.windows, whole.windows, strict=True):
        # by up to some tens of milliseconds a lossy codec's delay moves them against each other
        assert pitch(one, RATE) == pytest.approx(pitch(other, RATE), abs=4)


def test_stereo_is_averaged() -> None:
    left = tone(3, 44_100)
    clip = decode_windows(encode(np.concatenate([left, 0 * left]), 44_100, "wav", "pcm_s16le"), audio())
    assert np.abs(clip.windows).max() == pytest.approx(0.25, abs=0.01)


def test_a_short_track_is_padded_with_zeros() -> None:
    clip = decode_windows(encode(tone(1.5), RATE), audio())
    assert clip.seconds == pytest.approx(1.5)
    assert not clip.windows[0, int(1.5 * RATE) :].any()
    assert clip.windows[0, : int(1.5 * RATE)].any()


def test_silence_and_snippets_are_refused() -> None:
    with pytest.raises(SilentAudio):
        decode_windows(encode(0 * tone(3), RATE), audio())
    with pytest.raises(ShortAudio, match=r"lasts 0\.50 s"):
        decode_windows(encode(tone(0.5), RATE), audio())


def test_samples_that_are_not_numbers_are_refused() -> None:
    broken = tone(3)
    broken[0, RATE] = np.nan
    with pytest.raises(CorruptAudio, match="infinite or not a number"):
        decode_windows(encode(broken, RATE, "wav", "pcm_f32le"), audio())


@pytest.mark.parametrize(
    "magic", [b"fLaC", b"OggS", b"ID3\x04", b"RIFF\x00\x00\x00\x00WAVE", b"\x00\x00\x00\x20ftypM4A "]
)
def test_garbage_behind_a_good_beginning_is_a_corrupt_file(magic: bytes) -> None:
    with pytest.raises(MediaError):
        decode_windows(magic + np.random.default_rng(0).bytes(20_000), audio())


@pytest.mark.parametrize(("container", "codec", "rate"), CODECS)
def test_a_damaged_file_gives_windows_or_a_media_error(container: str, codec: str, rate: int) -> None:
    random = np.random.default_rng(1)
    whole = encode(tone(8, rate), rate, container, codec)
    for _ in range(10):
        damaged = bytearray(whole[: random.integers(len(whole) // 4, len(whole))])
        for at in random.integers(12, len(damaged), 50):
            damaged[at] = random.integers(256)
        try:
            clip = decode_windows(bytes(damaged), audio(windows=2))
        except MediaError:
            continue
        assert np.isfinite(clip.windows).all()


def test_a_wrong_length_in_a_header_is_ignored() -> None:
    encoded = bytearray(encode(tone(3), RATE, "wav", "pcm_s16le"))
    size = encoded.index(b"data") + 4
    encoded[size : size + 4] = (2**31 - 1).to_bytes(4, "little")
    clip = decode_windows(bytes(encoded), audio(windows=3))
    assert clip.seconds == pytest.approx(3, abs=0.01)


def test_a_small_file_of_endless_sound_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_DECODED_SAMPLES", 5 * RATE)
    monkeypatch.setattr(decode, "_decode_by_seeking", lambda *_: None)
    assert decode_windows(encode(tone(60), RATE), audio()).seconds < 6


@pytest.mark.parametrize(
    ("container", "codec", "rate"), [("mp3", "libmp3lame", 44_100), ("flac", "flac", 44_100)]
)
def test_cover_art_in_front_changes_nothing(container: str, codec: str, rate: int) -> None:
    plain = encode(tone(3, rate), rate, container, codec)
    covered = with_id3_picture(with_id3_picture(plain, 300_000), 10)
    assert np.array_equal(decode_windows(covered, audio()).windows, decode_windows(plain, audio()).windows)


def test_a_tag_that_is_longer_than_the_file_is_a_corrupt_file() -> None:
    with pytest.raises(CorruptAudio):
        decode_windows(with_id3_picture(b"", 300_000)[:1000], audio())


def test_a_failed_allocation_of_ffmpeg_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode(tone(3), RATE)

    def refuse(*_: object, **__: object) -> None:
        raise av.error.FFmpegError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MemoryError):
        decode_windows(encoded, audio())


def test_a_file_without_audio_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video = out.add_stream("mpeg4", rate=25)
        assert isinstance(video, av.VideoStream)
        video.width = video.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        for part in (frame, None):
            out.mux(video.encode(part))
    with pytest.raises(UnsupportedAudio, match="no audio stream"):
        decode_windows(file.getvalue(), audio())


@pytest.mark.parametrize("name", ["hungarian-dance-5", "lets-go-fishin", "sugar-plum-fairy", "vibe-ace"])
def test_decodes_real_recordings(name: str) -> None:
    file = SHARED / "audio" / f"{name}.ogg"
    if not file.is_file():
        pytest.skip(f"{file} is not at hand")
    clip = decode_windows(file.read_bytes(), audio(windows=3, seconds=10))
    assert clip.windows.shape == (3, 10 * RATE)
    assert clip.seconds > 40
    assert 0.05 < np.abs(clip.windows).max() <= 1.2
