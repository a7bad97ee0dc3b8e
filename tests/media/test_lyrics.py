import pytest

from media.errors import UnreadableLyrics
from media.lyrics import MAX_BYTES, clean_lyrics, read_lyrics


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("love me do", "love me do"),
        ("[00:12.34]love me do\n[01:02]again", "love me do\nagain"),
        ("[ar: Somebody]\n[ti:Song]\nlove", "love"),
        ("[Chorus]\nlove\n(Verse 2: Somebody)\nhate", "love\nhate"),
        ("love (x2)\nhate [3 times]", "love\nhate"),
        ("<b>love</b> &amp; hate", "love & hate"),
        ("  love \t me \r\n\r\n\n do ", "love me\ndo"),
        ("I wrote [your] name (again)", "I wrote [your] name (again)"),
        ("[Instrumental]", ""),
        ("INSTRUMENTAL", ""),
        ("This song is an instrumental.", ""),
        ("instrumental love", "instrumental love"),
        ("", ""),
    ],
)
def test_only_what_is_sung_remains(raw: str, clean: str) -> None:
    assert clean_lyrics(raw) == clean


def test_cleaning_twice_changes_nothing_more() -> None:
    raw = "[Intro]\n[00:01.00] one <i>two</i>\n\n(x4)\nthree &lt;b&gt;"
    assert clean_lyrics(clean_lyrics(raw)) == clean_lyrics(raw)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_reads_text_as_it_comes(encoding: str) -> None:
    assert read_lyrics("für Élise".encode(encoding)) == "für Élise"


@pytest.mark.parametrize("raw", [b"\xff\xfa\x00", b"a" * (MAX_BYTES + 1)], ids=["not text", "too long"])
def test_refuses_what_is_no_lyrics(raw: bytes) -> None:
    with pytest.raises(UnreadableLyrics):
        read_lyrics(raw)
