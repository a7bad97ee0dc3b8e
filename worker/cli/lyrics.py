"""Reads lyrics from files that are named on the command line."""

from pathlib import Path


def read_lyrics_file(file: Path) -> str:
    """Return the text of a lyrics file. Raises UnreadableLyrics, naming the file."""
    from media.errors import UnreadableLyrics
    from media.lyrics import read_lyrics

    try:
        return read_lyrics(file.read_bytes())
    except OSError as error:
        raise UnreadableLyrics(f"cannot read the lyrics {file}: {error.strerror}") from None
    except UnreadableLyrics as error:
        raise UnreadableLyrics(f"the lyrics {file}: {error}") from None
