"""Decodes encoded audio to mono waveform windows, in training and in serving.

The demuxer is chosen by magic bytes, and only the first audio stream is read. Lengths in headers are not
trusted: the number of decoded samples is limited. The channels are averaged, and the mean is resampled.

Window positions are exact, except in MP3 of variable bit rate, whose table of contents has a resolution of
1/256 of the file. ADTS, and MP3 of variable bit rate without that table, contain no positions and are decoded
from the start.
"""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from media.errors import CorruptAudio, MediaError, ShortAudio, SilentAudio, UnsupportedAudio
from media.sniff import HEAD_BYTES, detect_demuxer, id3_bytes
from media.source import BytesSource, Source, SourceFile
from schemas.bundle import AudioInput

Waveform = NDArray[np.float32]

CODECS = frozenset({"mp3", "mp3float", "flac", "vorbis", "opus", "libopus", "aac", "alac"}) | {
    name for name in av.codecs_available if name.startswith("pcm_")
}
"""FFmpeg's names of the decoders that may run."""

MIN_SECONDS = 1.0
"""Minimum duration of a track."""

SILENCE_PEAK = 1e-4
"""Peak amplitude (full scale = 1) below which a track is silent: -80 dBFS."""

MAX_DECODED_SAMPLES = 20 * 60 * 48_000
"""Maximum number of samples decoded per file. A megabyte of encoded silence can decode to days."""

MAX_CHANNELS = 8

UNINDEXED_CONTAINERS = frozenset({"aac"})
"""Containers whose length and positions FFmpeg only estimates from the bit rate."""

BIT_RATE_TOLERANCE = 0.03
"""Relative difference from the stream's bit rate that counts as equal. Frames of a constant bit rate differ
by one byte of padding; the next higher bit rate differs by 9 %."""

PREROLL_SECONDS = 0.25
"""Decoded and discarded before a window: after a seek, a codec needs some packets to converge."""


@dataclass(frozen=True)
class Clip:
    """The windows of a track."""

    windows: Waveform
    """(windows, samples), mono, full scale = ±1, zeros after the end of a short track."""
    seconds: float
    """Duration of the whole track."""


def decode_windows(encoded: bytes | Source, audio: AudioInput) -> Clip:
    """Return the windows of an encoded file that `audio` specifies.

    Seeks to each window, so that little else of the file is read. A track that is only a little longer than
    its windows, or whose header states a wrong length, is decoded from the start instead.

    Raises MediaError if the file cannot be used, and the errors of reading the source.
    """
    source = BytesSource(encoded) if isinstance(encoded, bytes) else encoded
    with _open_container(source) as (container, stream):
        clip = _decode_by_seeking(container, stream, audio) or _decode_from_start(container, stream, audio)
    if not np.isfinite(clip.windows).all():
        raise CorruptAudio("contains samples that are infinite or not a number")
    if np.abs(clip.windows).max() < SILENCE_PEAK:
        raise SilentAudio("is silent in every window")
    return clip


def window_starts(seconds: float, audio: AudioInput) -> list[float]:
    """Return the start times, in seconds, of the windows of a track that lasts `seconds`.

    The track is divided into equal parts, with a window around the centre of each: a single window is the
    middle of the track. A track shorter than all windows together gets only as many windows as cover it; a
    track shorter than one window gets one, from its start.
    """
    count = max(1, min(audio.windows, math.ceil(seconds / audio.window_seconds)))
    latest = max(0.0, seconds - audio.window_seconds)
    centres = ((part + 0.5) * seconds / count for part in range(count))
    return [min(max(0.0, centre - audio.window_seconds / 2), latest) for centre in centres]


@contextmanager
def _open_container(source: Source) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open the container and its audio stream. FFmpeg's errors inside become CorruptAudio."""
    file = SourceFile(source)
    demuxer = _skip_tags(file)
    options = {
        "fflags": "fastseek",  # without it, an MP3 is read up to the position of a seek
        "codec_whitelist": ",".join(sorted(CODECS)),
    }
    try:
        with av.open(file, "r", format=demuxer, options=options, metadata_errors="replace") as container:
            yield container, _find_audio_stream(container)
    except av.error.FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        raise CorruptAudio(f"cannot be decoded as {demuxer}: {error.strerror}") from error


def _skip_tags(file: SourceFile) -> str:
    """Move the start of `file` behind ID3 tags and their cover art, and return the demuxer for the rest."""
    start = 0
    head = file.read(HEAD_BYTES)
    while tag := id3_bytes(head):
        start += tag
        file.set_start(start)
        head = file.read(HEAD_BYTES)
    file.set_start(start)
    try:
        return detect_demuxer(head)
    except MediaError:
        if not start:
            raise
        return "mp3"  # an ID3 tag usually precedes MP3 frames, here with padding between them


def _find_audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise UnsupportedAudio("contains no audio stream")
    stream = container.streams.audio[0]
    codec = stream.codec_context.name
    if codec not in CODECS:
        raise UnsupportedAudio(f"audio codec {codec} is not supported")
    if stream.codec_context.channels > MAX_CHANNELS:
        raise UnsupportedAudio(f"has {stream.codec_context.channels} channels; at most {MAX_CHANNELS}")
    if not stream.codec_context.sample_rate:
        raise CorruptAudio("its header contains no sample rate")
    # One thread per track, because several tracks are decoded in parallel.
    stream.codec_context.thread_count = 1
    return stream


def _decode_by_seeking(container: InputContainer, stream: AudioStream, audio: AudioInput) -> Clip | None:
    """Decode the windows, each after a seek; None if positions are not reliable or seeking saves nothing."""
    if container.format.name in UNINDEXED_CONTAINERS or stream.duration is None or stream.time_base is None:
        return None
    # index_entries is an MP3's table of contents. Without it, FFmpeg assumes a constant bit rate to seek.
    by_bit_rate = container.format.name == "mp3" and not len(stream.index_entries)
    seconds = float(stream.duration * stream.time_base)
    if seconds < 1.5 * audio.windows * audio.window_seconds:
        return None
    origin = stream.start_time or 0
    windows = []
    for start in window_starts(seconds, audio):
        target = max(0.0, start - PREROLL_SECONDS)
        try:
            container.seek(origin + int(target / stream.time_base), stream=stream)
        except av.error.FFmpegError:
            return None
        samples = _decode_window(container, stream, start, audio, by_bit_rate)
        if samples is None or len(samples) < audio.window_samples - audio.sample_rate // 10:
            return None
        windows.append(_fit_length(samples, audio.window_samples))
    return Clip(np.stack(windows), seconds)


def _decode_window(
    container: InputContainer, stream: AudioStream, start: float, audio: AudioInput, by_bit_rate: bool
) -> Waveform | None:
    """Return the window that starts at `start` seconds, resampled; None if its position is not certain."""
    rate = stream.codec_context.sample_rate
    needed = round(audio.window_seconds * rate)
    origin = float((stream.start_time or 0) * (stream.time_base or 0))
    parts: list[Waveform] = []
    collected = 0
    decoded = 0
    for packet in container.demux(stream):
        if by_bit_rate and not _has_stream_bit_rate(packet, stream):
            return None
        for frame in _decode_packet(packet):
            if frame.pts is None or frame.time_base is None or frame.sample_rate != rate:
                return None
            samples = _to_mono(frame)
            decoded += len(samples)
            if decoded > MAX_DECODED_SAMPLES:
                return None
            late = round((float(frame.pts * frame.time_base) - origin) * rate) - round(start * rate)
            if not parts and late > rate // 10:
                return None  # the seek went past the window's start
            part = samples[max(0, -late) :] if not parts else samples
            if len(part):
                parts.append(part)
                collected += len(part)
        if collected >= needed:
            break
    if not parts:
        return None
    return _resample(np.concatenate(parts)[:needed], rate, audio.sample_rate)


def _has_stream_bit_rate(packet: "Packet[AudioStream]", stream: AudioStream) -> bool:
    """Return whether a packet has the stream's initial bit rate. True for the empty packet at the end."""
    if not packet.size or not packet.duration or not stream.bit_rate:
        return not packet.size
    bit_rate = 8 * packet.size / float(packet.duration * packet.time_base)
    return abs(bit_rate - stream.bit_rate) < BIT_RATE_TOLERANCE * stream.bit_rate


def _decode_from_start(container: InputContainer, stream: AudioStream, audio: AudioInput) -> Clip:
    """Decode at most `MAX_DECODED_SAMPLES` from the start, and return the windows of these samples."""
    container.seek(0)
    rate = stream.codec_context.sample_rate
    parts: list[Waveform] = []
    collected = 0
    for packet in container.demux(stream):
        for frame in _decode_packet(packet):
            if frame.sample_rate != rate:
                raise UnsupportedAudio("changes its sample rate")
            parts.append(_to_mono(frame))
            collected += len(parts[-1])
        if collected >= MAX_DECODED_SAMPLES:
            break
    if not parts:
        raise CorruptAudio("contains no audio that can be decoded")
    seconds = collected / rate
    if seconds < MIN_SECONDS:
        raise ShortAudio(f"lasts {seconds:.2f} s; at least {MIN_SECONDS:g} s are needed")
    ends = np.cumsum([len(part) for part in parts])
    windows = []
    for start in window_starts(seconds, audio):
        first = round(start * rate)
        last = first + round(audio.window_seconds * rate)
        # Concatenate only the parts that contain the window: all parts would double the memory of the track.
        within = slice(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(ends, last)) + 1)
        samples = np.concatenate(parts[within])
        first -= int(ends[within.start]) - len(parts[within.start])
        samples = samples[first : first + round(audio.window_seconds * rate)]
        windows.append(_fit_length(_resample(samples, rate, audio.sample_rate), audio.window_samples))
    return Clip(np.stack(windows), seconds)


def _decode_packet(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    """Return the frames of a packet; none if it is damaged. Players skip damaged packets too."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


def _to_mono(frame: AudioFrame) -> Waveform:
    """Return the mean of a frame's channels, (samples,), full scale = ±1.

    FFmpeg's own downmix scales by 1/2 or by 1/√2, depending on the sample format.
    """
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    mono: Waveform = data.mean(axis=0, dtype=np.float32)
    if data.dtype == np.uint8:
        return (mono - np.float32(128)) / np.float32(128)
    if data.dtype.kind == "i":
        return mono / np.float32(2 ** (8 * data.dtype.itemsize - 1))
    return mono


def _resample(samples: Waveform, rate: int, target_rate: int) -> Waveform:
    """Return `samples` (n,) at another rate, by FFmpeg's windowed-sinc resampler."""
    if rate == target_rate or not len(samples):
        return samples
    frame = AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = AudioResampler(format="fltp", layout="mono", rate=target_rate)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in frames])


def _fit_length(samples: Waveform, length: int) -> Waveform:
    """Return `samples` cut, or padded with zeros, to `length`."""
    fitted = np.zeros(length, dtype=np.float32)
    fitted[: len(samples)] = samples[:length]
    return fitted
