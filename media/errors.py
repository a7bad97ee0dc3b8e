"""Errors of a file. All except the last are final: a retry fails in the same way."""

from schemas.errors import CogenreError


class MediaError(CogenreError, ValueError):
    """Base of the errors of a file. The message is one line for the person who delivered it."""


class EmptyAudio(MediaError):
    """The file has no bytes."""


class UnsupportedAudio(MediaError):
    """The container or the codec is not supported."""


class CorruptAudio(MediaError):
    """The file has the signature of a supported format, and cannot be decoded as that."""


class ShortAudio(MediaError):
    """The audio is too short to be classified."""


class SilentAudio(MediaError):
    """The audio is silent."""


class UnreadableLyrics(MediaError):
    """The lyrics cannot be read as text."""


class DecoderFault(MediaError):
    """The file made its decode process fail."""


class DecoderCrashed(DecoderFault):
    """The decode process crashed."""


class DecoderTimedOut(DecoderFault):
    """Decoding exceeded its time limit."""


class DecoderOutOfMemory(DecoderFault):
    """Decoding exceeded its memory limit."""


class DecoderReadsTooMuch(DecoderFault):
    """Decoding read the file too many times."""


class DecoderUnavailable(Exception):
    """No decode process is available. A later retry, or another worker, can succeed."""
