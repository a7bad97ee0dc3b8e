"""Why a file cannot be labelled. All but the last are final: trying again gives the same answer."""

from schemas.errors import CogenreError


class MediaError(CogenreError, ValueError):
    """The message is one line for the person who delivered the file."""


class EmptyAudio(MediaError):
    """No bytes at all."""


class UnsupportedAudio(MediaError):
    """Not one of the containers and codecs that the house decodes."""


class CorruptAudio(MediaError):
    """Says that it is a known format, and cannot be decoded as one."""


class ShortAudio(MediaError):
    """Too little sound to have a genre."""


class SilentAudio(MediaError):
    """Nothing to hear."""


class UnreadableLyrics(MediaError):
    """The bytes are not text."""


class DecoderFault(MediaError):
    """What the file did to the process that decoded it."""


class DecoderCrashed(DecoderFault):
    """The process died."""


class DecoderTimedOut(DecoderFault):
    """Decoding takes longer than it may."""


class DecoderOutOfMemory(DecoderFault):
    """Decoding takes more memory than it may."""


class DecoderReadsTooMuch(DecoderFault):
    """Decoding reads the file over and over."""


class DecoderUnavailable(Exception):
    """No process to decode in can be had. Trying later, or elsewhere, helps."""
