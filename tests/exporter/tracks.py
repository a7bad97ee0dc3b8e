"""A few labelled tracks for the tiny checkpoint."""

import json
from pathlib import Path

from tests.sounds import encode, tone


def write_tracks(folder: Path, genre: str | None = None) -> Path:
    """A manifest, four of whose tracks are in `valid`; the file of the last of them is no audio.

    Techno has lyrics, folk has none; or all tracks are of `genre`.
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
