"""A small labelled data set for the tiny checkpoint."""

import json
from pathlib import Path

from tests.audio import encode, tone


def write_tracks(folder: Path, genre: str | None = None) -> Path:
    """Write six tracks and return their manifest.

    Four tracks are in the split `valid`; the file of the last of these is not audio. Techno tracks have
    lyrics, folk tracks have none. If `genre` is given, all tracks have that genre.
    """
    lines = []
    for number, split in enumerate(("train", "valid", "valid", "valid", "valid", "test")):
        techno = number % 2 == 0
        audio = encode(tone(2.5, 8_000, hertz=300 + 500 * number), 8_000)
        (folder / f"{number}.flac").write_bytes(audio if number != 4 else b"no audio at all")
        lines.append(
            {
                "track_id": str(number),
                "audio": f"{number}.flac",
                "lyrics": "love me tonight" if techno else None,
                "genres": [genre or ("techno" if techno else "folk")],
                "artist": None,
                "language": None,
                "split": split,
            }
        )
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    return manifest
