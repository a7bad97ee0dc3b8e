"""Decodes and cleans raw lyrics, in training and in serving."""

import html
import re

from media.errors import UnreadableLyrics

MAX_BYTES = 256 * 1024
"""Maximum size of lyrics. The lyrics of a song are far shorter."""

_MARKUP = re.compile(r"<[^<>\n]{1,200}>")
_LRC_TAG = re.compile(
    r"\[(?:\d{1,3}:\d{2}(?:[.:]\d{1,3})?|(?:ar|ti|al|by|offset|length|re|ve):[^\]\n]*)\]", re.IGNORECASE
)
_HEADER = re.compile(
    r"^\s*[\[({]\s*(?:verse|chorus|pre-?chorus|post-?chorus|bridge|hook|intro|outro|refrain|interlude|solo"
    r"|instrumental|break|breakdown|drop|coda|part|repeat)\b[^\])}\n]*[\])}]\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_REPEAT = re.compile(r"[\[(]\s*(?:x\s*\d+|\d+\s*x|\d+\s+times|repeat)\s*[\])]", re.IGNORECASE)
_INSTRUMENTAL = re.compile(
    r"^\W*(?:(?:this song is an?|an?)\s+)?instrumental(?:\s+(?:track|song|version))?\W*$", re.IGNORECASE
)


def read_lyrics(raw: bytes) -> str:
    """Return lyrics as text, from UTF-8, or UTF-16 with a byte order mark. Raises UnreadableLyrics."""
    if len(raw) > MAX_BYTES:
        raise UnreadableLyrics(f"lyrics of {len(raw)} bytes; at most {MAX_BYTES}")
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableLyrics(
            f"lyrics are not text in UTF-8 (byte {error.start}): save them as UTF-8"
        ) from error


def clean_lyrics(raw: str) -> str:
    """Return the sung lines; empty if there are none.

    Removes timing tags, section headers, markup, repeat marks, and a note that the track is instrumental.
    """
    text = _MARKUP.sub(" ", html.unescape(raw).replace("\x00", ""))
    if _INSTRUMENTAL.match(text.strip()):
        return ""
    for pattern in (_LRC_TAG, _HEADER, _REPEAT):
        text = pattern.sub(" ", text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
