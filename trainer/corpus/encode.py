"""Encodes waveforms to the audio formats that a platform receives."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from trainer.corpus.signal import SAMPLE_RATE, Waveform


@dataclass(frozen=True)
class Encoding:
    """A container and a codec with their options."""

    suffix: str
    muxer: str
    codec: str
    sample_rate: int
    """Hz; not every codec supports every rate."""
    sample_format: str
    bit_rate: int | None
    """Bits a second; None for a lossless codec."""
    effort: str | None = None
    """FFmpeg's compression level; None for the codec's own default."""


MP3 = Encoding(".mp3", "mp3", "libmp3lame", SAMPLE_RATE, "fltp", 64_000, effort="7")
OPUS = Encoding(".opus", "ogg", "libopus", 24_000, "flt", 48_000)
AAC = Encoding(".m4a", "ipod", "aac", SAMPLE_RATE, "fltp", 64_000)
FLAC = Encoding(".flac", "flac", "flac", SAMPLE_RATE, "s16", None)

SHARES = {MP3: 0.8, OPUS: 0.08, AAC: 0.08, FLAC: 0.04}
"""Share of the corpus in each encoding."""


def draw_encoding(rng: np.random.Generator) -> Encoding:
    """Return an encoding drawn with the probabilities `SHARES`."""
    return list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]


def write_audio(waveform: Waveform, file: Path, encoding: Encoding) -> None:
    """Write mono audio. The bytes are reproducible: no creation time, serial number or version is written."""
    effort = {} if encoding.effort is None else {"compression_level": encoding.effort}
    with av.open(file, "w", format=encoding.muxer, options={"fflags": "+bitexact"}) as container:
        stream = cast(
            AudioStream,
            container.add_stream(
                encoding.codec,
                rate=encoding.sample_rate,
                layout="mono",
                format=encoding.sample_format,
                options={"flags": "+bitexact"} | effort,
            ),
        )
        if encoding.bit_rate is not None:
            stream.bit_rate = encoding.bit_rate
        stream.codec_context.thread_count = 1
        stream.codec_context.open()
        resampler = AudioResampler(
            format=encoding.sample_format,
            layout="mono",
            rate=encoding.sample_rate,
            frame_size=stream.codec_context.frame_size,
        )
        whole = AudioFrame.from_ndarray(waveform[None, :], format="fltp", layout="mono")
        whole.sample_rate = SAMPLE_RATE
        whole.time_base = Fraction(1, SAMPLE_RATE)
        whole.pts = 0
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
