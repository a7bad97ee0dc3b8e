"""Writes the corpus as a folder that `cogenre-train fit` reads.

```
manifest.jsonl    a line per track: track_id, audio, lyrics, genres, artist, title, language, split
genres.json       the genres, in the order of `GENRES`
audio/            encoded files
lyrics/           text files of the sung tracks
```
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from rich.progress import track as progress

from media.cpus import available_cpus
from schemas.errors import ConfigError
from storage.atomic import new_folder
from trainer.corpus.crossing import crossing_sources
from trainer.corpus.encode import write_audio
from trainer.corpus.labels import GENRES, leaf_genres
from trainer.corpus.performance import synthesise_track
from trainer.corpus.plan import PlannedTrack, plan_tracks
from trainer.corpus.words import write_lyrics
from trainer.data.genres import GENRES_FILE

MANIFEST = "manifest.jsonl"

CHUNK_TRACKS = 8
"""Tracks sent to a process at once."""

Row = dict[str, str | list[str] | None]
"""A row of the manifest."""


def build_corpus(
    out: Path, tracks: int, seed: int, processes: int | None = None, crossing: float = 0.0
) -> None:
    """Write a corpus of `tracks` tracks to the new folder `out`, atomically.

    A share `crossing` of the tracks is crossed: see the package's docstring.

    Equal arguments give equal bytes on the same machine. `processes` (default: one per CPU) has no influence
    on them.

    Raises ConfigError, OutputError.
    """
    if tracks < 1:
        raise ConfigError(f"a corpus cannot have {tracks} tracks: give 1 or more")
    if seed < 0:
        raise ConfigError(f"seed {seed}: give 0 or more")
    if not 0 <= crossing <= 1:
        raise ConfigError(f"a share {crossing} of crossed tracks: give 0 to 1")
    with new_folder(out) as folder:
        (folder / "audio").mkdir()
        (folder / "lyrics").mkdir()
        genres = [genre.model_dump() for genre in GENRES]
        (folder / GENRES_FILE).write_text(json.dumps(genres, indent=2) + "\n", encoding="utf-8")
        planned = plan_tracks(tracks, seed, crossing)
        rows = _write_tracks(folder, planned, processes or available_cpus())
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / MANIFEST).write_text("".join(lines), encoding="utf-8")


def _write_tracks(folder: Path, planned: list[PlannedTrack], processes: int) -> list[Row]:
    """Write every track's files and return the manifest rows, in the order of the plan."""
    # Spawned, not forked: a fork would copy locks that the caller's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        rows = pool.map(_write_track, [folder] * len(planned), planned, chunksize=CHUNK_TRACKS)
        return list(progress(rows, description="Synthesising", total=len(planned), transient=True))


def _write_track(folder: Path, track: PlannedTrack) -> Row:
    """Write a track's audio and lyrics; return its manifest row."""
    rng = np.random.default_rng(track.seed)
    genres = leaf_genres(track.genres)
    sound_genres, lyrics_genres = crossing_sources(genres) if track.crossed else (genres, genres)
    lyrics = None
    if track.sung:
        lyrics = f"lyrics/{track.track_id}.txt"
        (folder / lyrics).write_text(write_lyrics(lyrics_genres, track.artist_nouns, rng), encoding="utf-8")
    audio = f"audio/{track.track_id}{track.encoding.suffix}"
    write_audio(synthesise_track(sound_genres, track.sung, track.style, rng), folder / audio, track.encoding)
    return {
        "track_id": track.track_id,
        "audio": audio,
        "lyrics": lyrics,
        "genres": list(track.genres),
        "artist": track.artist,
        "title": track.title,
        "language": "en" if track.sung else None,
        "split": track.split,
    }
