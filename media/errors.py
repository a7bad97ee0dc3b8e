"""Errors of media files. All except DecoderUnavailable are final: a retry fails in the same way."""

from schemas.errors import CogenreError


class MediaError(CogenreError, ValueError):
    """Base class of the errors of a file. The message is one line for the supplier of the file."""


class EmptyAudio(MediaError):
    """The file has no bytes."""


class UnsupportedAudio(MediaError):
    """The container or the codec is not supported."""


class CorruptAudio(MediaError):
    """The file starts like a supported format, but cannot be decoded."""


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
    """Decoding read more bytes than `MAX_READ_RATIO` times the size of the file."""


class DecoderUnavailable(Exception):
    """No decode process is available. A later retry, or another worker, can succeed."""
