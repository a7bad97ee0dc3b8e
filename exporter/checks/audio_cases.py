"""Encoded files with raw lyrics, on which `cogenre classify` is compared with the trainer's own pipeline."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.checks.cases import BATCHES, LARGEST_BATCH
from media.decode import MIN_SECONDS
from schemas.bundle import BundleManifest
from trainer.corpus.encode import AAC, FLAC, MP3, OPUS, Encoding, write_audio
from trainer.corpus.signal import SAMPLE_RATE, Waveform, times
from trainer.data.track import Track

LINE = "we danced all night beneath the silver moon and never said goodbye\n"
MARKED_UP = f"[ti:Moon]\n[Verse 1]\n[00:12.30] {LINE}<i>(x2)</i>\n[Chorus]\n" + LINE * 60
"""As lyrics sites have them, and past the limit of any model here."""

INSTRUMENTAL = "[Instrumental]"


@dataclass(frozen=True)
class _Song:
    waveform: Waveform
    encoding: Encoding
    lyrics: str | None


def write_songs(folder: Path, manifest: BundleManifest) -> list[Track]:
    """Files of 1, 2, 3, 7 and the most windows; silent, quiet and at full scale; lyrics of all lengths."""
    tracks = []
    for number, song in enumerate(_songs(manifest)):
        audio, lyrics = f"{number}{song.encoding.suffix}", f"{number}.txt"
        write_audio(song.waveform, folder / audio, song.encoding)
        if song.lyrics is not None:
            (folder / lyrics).write_text(song.lyrics)
        tracks.append(
            Track(
                track_id=str(number),
                audio=audio,
                lyrics=None if song.lyrics is None else lyrics,
                genres=(manifest.genres[0].slug,),
                artist=None,
                language=None,
            )
        )
    return tracks


def _songs(manifest: BundleManifest) -> Iterator[_Song]:
    chance = np.random.default_rng(0)
    window = manifest.audio.window_seconds
    short = "love " * manifest.lyrics.min_words

    def sound(windows: int) -> Waveform:
        """A rising tone in noise that beats: no window is like another. Ends within the last window."""
        time = times(round(max(MIN_SECONDS, (windows - 0.25) * window) * SAMPLE_RATE))
        tone = np.sin(2 * np.pi * (110 + 3_000 * time / time[-1]) * time)
        noise = chance.uniform(-1, 1, len(time)) * np.exp(-8 * (time % 0.5))
        return np.asarray(0.4 * (tone + noise), np.float32)

    for windows in (*BATCHES, LARGEST_BATCH):
        yield _Song(sound(windows), FLAC, MARKED_UP)
    for encoding, lyrics in ((MP3, None), (OPUS, short), (AAC, INSTRUMENTAL), (FLAC, "")):
        yield _Song(sound(2), encoding, lyrics)
    whole = sound(1)
    yield _Song(np.sign(whole), FLAC, short)
    yield _Song(whole / np.float32(1_000), FLAC, short)
    yield _Song(np.zeros_like(whole), FLAC, short)
