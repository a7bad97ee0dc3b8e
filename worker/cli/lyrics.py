"""Lyrics that a command is given as a file."""

from pathlib import Path


def lyrics_in(file: Path) -> str:
    """Raises ConfigError."""
    from media.errors import MediaError
    from media.lyrics import read_lyrics
    from schemas.errors import ConfigError

    try:
        return read_lyrics(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the lyrics {file}: {error.strerror}") from None
    except MediaError as error:
        raise ConfigError(f"the lyrics {file}: {error}") from None
