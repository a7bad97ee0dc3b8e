"""Encoded sound for tests, made as they need it."""

import io
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def tone(seconds: float, rate: int = 22_050, hertz: float = 440.0, channels: int = 1) -> Samples:
    """A sine of half amplitude, (channels, samples)."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def sweep(seconds: float, rate: int, rise: float) -> Samples:
    """A tone whose pitch says where in the track it is: 200 Hz, and `rise` Hz more every second."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 * time + rise / 2 * time**2)).astype(np.float32))[None]


def pitch(samples: Samples, rate: int) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def encode(
    samples: Samples,
    rate: int,
    container: str = "flac",
    codec: str = "flac",
    options: dict[str, str] | None = None,
) -> bytes:
    """Samples (channels, n) as an encoded file, with FFmpeg's options of the codec."""
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout, options=options or {})
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


def remux(encoded: bytes, container: str, folder: Path, options: dict[str, str]) -> bytes:
    """The same packets in another container, with FFmpeg's options of the container."""
    file = folder / "remuxed"  # FFmpeg cannot write the front of an MP4 last without a file
    with av.open(io.BytesIO(encoded), "r") as whole, av.open(file, "w", container, options) as out:
        stream = out.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return file.read_bytes()


def behind_cover(encoded: bytes, size: int) -> bytes:
    """An encoded file behind an ID3 tag with a picture of `size` bytes."""
    picture = b"\x00image/jpeg\x00\x03\x00" + bytes(size)
    frame = b"APIC" + _seven_bits(len(picture)) + b"\x00\x00" + picture
    return b"ID3\x04\x00\x00" + _seven_bits(len(frame)) + frame + encoded


def _seven_bits(length: int) -> bytes:
    return bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
