"""Detects the container of an encoded file by its first bytes. File names are not trusted."""

from media.errors import EmptyAudio, UnsupportedAudio

HEAD_BYTES = 12
"""Number of first bytes that distinguish all supported containers."""

SUPPORTED_FORMATS = "WAV, FLAC, MP3, Ogg, AAC or MP4"
"""For messages. The docs and the description of `TrackJob.audio` name the same formats."""


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag at the start of a file; 0 without one."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    length = 0
    for seven_bits in head[6:10]:
        length = length << 7 | seven_bits
    footer = 10 if head[5] & 0x10 else 0
    return 10 + length + footer


def detect_demuxer(head: bytes) -> str:
    """Return FFmpeg's name of the demuxer for a file that begins with `head` (`HEAD_BYTES` or more).

    The caller passes the demuxer to FFmpeg, so that FFmpeg does not choose one itself and never parses rare
    formats or playlists, which can refer to other files and URLs. Raises EmptyAudio, UnsupportedAudio.
    """
    if not head:
        raise EmptyAudio("the file is empty")
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:3] == b"ID3":
        return "mp3"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer = head[1] & 0x06
        return "aac" if layer == 0 else "mp3"
    raise UnsupportedAudio(f"not {SUPPORTED_FORMATS}: the file begins with {head[:8].hex(' ')}")
