import pytest

from media.errors import EmptyAudio, UnsupportedAudio
from media.sniff import HEAD_BYTES, detect_demuxer
from tests.audio import encode, tone

CONTAINERS = [
    ("wav", "pcm_s16le", "wav"),
    ("flac", "flac", "flac"),
    ("mp3", "libmp3lame", "mp3"),
    ("ogg", "libopus", "ogg"),
    ("mp4", "aac", "mov"),
    ("adts", "aac", "aac"),
]


@pytest.mark.parametrize(("container", "codec", "demuxer"), CONTAINERS)
def test_knows_a_container_by_its_first_bytes(container: str, codec: str, demuxer: str) -> None:
    assert detect_demuxer(encode(tone(1, 48_000), 48_000, container, codec)[:HEAD_BYTES]) == demuxer


def test_knows_an_mp3_without_a_tag() -> None:
    assert detect_demuxer(b"\xff\xfb\x90\x64" + b"\x00" * 8) == "mp3"


def test_an_empty_file_is_named_as_such() -> None:
    with pytest.raises(EmptyAudio):
        detect_demuxer(b"")


@pytest.mark.parametrize(
    "head",
    [
        b"#EXTM3U\n#EXT",
        b"ffconcat ver",
        b"<?xml versio",
        b"RIFF\x00\x00\x00\x00AVI ",
        b"\x00" * 12,
        b"R",
        b"\xff",
    ],
    ids=["playlist", "concat", "dash", "avi", "zeros", "short", "half a sync word"],
)
def test_refuses_what_is_not_on_the_list(head: bytes) -> None:
    with pytest.raises(UnsupportedAudio):
        detect_demuxer(head)
