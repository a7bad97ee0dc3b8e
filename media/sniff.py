"""The container of an encoded file, by its first bytes: names and headers from outside are not believed."""

from media.errors import EmptyAudio, UnsupportedAudio

HEAD_BYTES = 12
"""Enough to tell every container apart."""


def demuxer_of(head: bytes) -> str:
    """FFmpeg's name of the demuxer for a file that begins with `head` (`HEAD_BYTES` or more).

    The demuxer is then forced, so that FFmpeg never probes: playlists, which could name other
    files and URLs, and the rarely used formats stay out of reach.
    Raises EmptyAudio, UnsupportedAudio.
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
    raise UnsupportedAudio(f"not WAV, FLAC, MP3, Ogg, AAC or MP4: the file begins with {head[:8].hex(' ')}")
