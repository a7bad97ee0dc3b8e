"""Writes encoded files with raw lyrics, to compare `cogenre classify` with the trainer's own pipeline."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.checks.cases import BATCHES, MAX_BATCH_WINDOWS
from media.decode import MIN_SECONDS
from schemas.bundle import BundleManifest
from trainer.corpus.encode import AAC, FLAC, MP3, OPUS, Encoding, write_audio
from trainer.corpus.signal import SAMPLE_RATE, Waveform, times
from trainer.data.track import Track

LYRICS_LINE = "we danced all night beneath the silver moon and never said goodbye\n"
LONG_LYRICS_WITH_MARKUP = (
    f"[ti:Moon]\n[Verse 1]\n[00:12.30] {LYRICS_LINE}<i>(x2)</i>\n[Chorus]\n" + LYRICS_LINE * 60
)
"""Lyrics with markup as on lyrics sites, and with more tokens than the token limit of any preset."""

INSTRUMENTAL = "[Instrumental]"


@dataclass(frozen=True)
class _AudioCase:
    """An audio file to write, and its lyrics."""

    waveform: Waveform
    encoding: Encoding
    lyrics: str | None


def write_audio_cases(folder: Path, manifest: BundleManifest) -> list[Track]:
    """Write the files and return them as tracks.

    They have 1, 2, 3, 7 and 16 windows. Some are silent, quiet or at full scale. Lyrics are absent, short or
    long.
    """
    tracks = []
    for number, case in enumerate(_audio_cases(manifest)):
        audio, lyrics = f"{number}{case.encoding.suffix}", f"{number}.txt"
        write_audio(case.waveform, folder / audio, case.encoding)
        if case.lyrics is not None:
            (folder / lyrics).write_text(case.lyrics)
        tracks.append(
            Track(
                track_id=str(number),
                audio=audio,
                lyrics=None if case.lyrics is None else lyrics,
                genres=(manifest.genres[0].slug,),
                artist=None,
                language=None,
            )
        )
    return tracks


def _audio_cases(manifest: BundleManifest) -> Iterator[_AudioCase]:
    """Yield the files: all numbers of windows, then all encodings, then extreme levels."""
    rng = np.random.default_rng(0)
    window = manifest.audio.window_seconds
    short = "love " * manifest.lyrics.min_words

    def noisy_tone(windows: int) -> Waveform:
        """Return a rising tone in pulsed noise, so that windows differ. It ends within the last window."""
        time = times(round(max(MIN_SECONDS, (windows - 0.25) * window) * SAMPLE_RATE))
        tone = np.sin(2 * np.pi * (110 + 3_000 * time / time[-1]) * time)
        noise = rng.uniform(-1, 1, len(time)) * np.exp(-8 * (time % 0.5))
        return np.asarray(0.4 * (tone + noise), np.float32)

    for windows in (*BATCHES, MAX_BATCH_WINDOWS):
        yield _AudioCase(noisy_tone(windows), FLAC, LONG_LYRICS_WITH_MARKUP)
    for encoding, lyrics in ((MP3, None), (OPUS, short), (AAC, INSTRUMENTAL), (FLAC, "")):
        yield _AudioCase(noisy_tone(2), encoding, lyrics)
    full_window = noisy_tone(1)
    yield _AudioCase(np.sign(full_window), FLAC, short)
    yield _AudioCase(full_window / np.float32(1_000), FLAC, short)
    yield _AudioCase(np.zeros_like(full_window), FLAC, short)
