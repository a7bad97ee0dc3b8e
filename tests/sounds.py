"""Encoded sound for tests, made as they need it."""

import io

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def tone(seconds: float, rate: int = 22_050, hertz: float = 440.0, channels: int = 1) -> Samples:
    """A sine of half amplitude, (channels, samples)."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def encode(samples: Samples, rate: int, container: str = "flac", codec: str = "flac") -> bytes:
    """Samples (channels, n) as an encoded file."""
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        # An encoder takes frames of its own size and sample format.
        resampler = av.AudioResampler(
            stream.format.name, layout, rate, stream.codec_context.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate = rate
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            out.mux(stream.encode(part))
    return file.getvalue()
