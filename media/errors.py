"""Why a file cannot be labelled. Each is final: trying again gives the same answer."""


class MediaError(ValueError):
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
