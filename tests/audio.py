"""Generated audio, encoded in the formats that the tests need."""

import io
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def tone(seconds: float, rate: int = 22_050, hertz: float = 440.0, channels: int = 1) -> Samples:
    """Return a sine of amplitude 0.5, (channels, samples)."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def sweep(seconds: float, rate: int, rise: float) -> Samples:
    """Return a tone of 200 Hz at the start, rising by `rise` Hz per second: its pitch gives the position."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 * time + rise / 2 * time**2)).astype(np.float32))[None]


def pitch(samples: Samples, rate: int) -> float:
    """Return the strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def encode(
    samples: Samples,
    rate: int,
    container: str = "flac",
    codec: str = "flac",
    options: dict[str, str] | None = None,
) -> bytes:
    """Return samples (channels, n) as an encoded file. `options` are FFmpeg's options of the codec."""
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout, options=options or {})
        assert isinstance(stream, AudioStream)
        # Each encoder requires its own frame size and sample format.
        resampler = av.AudioResampler(
            stream.format.name, layout, rate, stream.codec_context.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate = rate
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            out.mux(stream.encode(part))
    return file.getvalue()


def remux(encoded: bytes, container: str, folder: Path, options: dict[str, str]) -> bytes:
    """Return the same packets in another container. `options` are FFmpeg's options of the container."""
    file = folder / "remuxed"  # FFmpeg writes the header of an MP4 last, so it needs a seekable file
    with av.open(io.BytesIO(encoded), "r") as whole, av.open(file, "w", container, options) as out:
        stream = out.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return file.read_bytes()


def with_id3_picture(encoded: bytes, size: int) -> bytes:
    """Return the encoded file after an ID3 tag with a picture of `size` bytes."""
    picture = b"\x00image/jpeg\x00\x03\x00" + bytes(size)
    frame = b"APIC" + _seven_bits(len(picture)) + b"\x00\x00" + picture
    return b"ID3\x04\x00\x00" + _seven_bits(len(frame)) + frame + encoded


def _seven_bits(length: int) -> bytes:
    return bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
