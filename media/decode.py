"""Encoded audio to mono waveform windows: the house's only decoder.

The demuxer is forced by magic bytes, only the first audio stream is read, and no length that a header
states is believed: what is decoded is bounded in samples. Channels are averaged, then resampled.

Windows lie exactly where they should, but for MP3 of variable bit rate: its table of contents knows positions
to 1/256 of the file. ADTS, and MP3 of variable bit rate without that table, are decoded from the start:
nothing in them says where a second lies.
"""

import errno
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
from media.sniff import HEAD_BYTES, demuxer_of, id3_bytes
from media.source import BytesSource, Source, SourceFile
from media.windows import window_starts
from schemas.bundle import AudioInput

Waveform = NDArray[np.float32]

CODECS = frozenset({"mp3", "mp3float", "flac", "vorbis", "opus", "libopus", "aac", "alac"}) | {
    name for name in av.codecs_available if name.startswith("pcm_")
}
"""Decoders that may run."""

MIN_SECONDS = 1.0
"""Less sound than this has no genre."""

SILENCE = 1e-4
"""Peak amplitude (full scale = 1) below which a track is silent: -80 dBFS."""

MAX_DECODED_SAMPLES = 20 * 60 * 48_000
"""Samples decoded of one file at most: a megabyte of encoded silence can hold days."""

MAX_CHANNELS = 8

UNINDEXED = frozenset({"aac"})
"""Containers whose length and positions are only estimated from the bit rate."""

SAME_BIT_RATE = 0.03
"""MP3 frames of a constant bit rate differ by one byte of padding; the next bit rate is 9 % away or more."""

PREROLL_SECONDS = 0.25
"""Decoded and thrown away before a window, since a codec needs some packets to settle after a seek."""


@dataclass(frozen=True)
class Clip:
    """What the model hears of a track."""

    windows: Waveform
    """(windows, samples), mono, full scale = ±1, zeros after the end of a short track."""
    seconds: float
    """How long the whole track lasts."""


def decode_windows(encoded: bytes | Source, audio: AudioInput) -> Clip:
    """Cut the windows that `audio` asks for out of an encoded file.

    Windows are reached by seeking, and little else of the file is read. Where the track has little more than
    the windows, or where its header misleads about its length, it is decoded from the start instead.

    Raises a MediaError that says what is wrong with the file, and whatever reading the source raises.
    """
    source = BytesSource(encoded) if isinstance(encoded, bytes) else encoded
    with _opened(source) as (container, stream):
        clip = _by_seeking(container, stream, audio) or _from_the_start(container, stream, audio)
    if not np.isfinite(clip.windows).all():
        raise CorruptAudio("holds samples that are not numbers")
    if np.abs(clip.windows).max() < SILENCE:
        raise SilentAudio("is silent wherever the model listens")
    return clip


@contextmanager
def _opened(source: Source) -> Iterator[tuple[InputContainer, AudioStream]]:
    """The container and its audio stream. FFmpeg's errors inside become CorruptAudio."""
    file = SourceFile(source)
    demuxer = _begin(file)
    options = {
        "fflags": "fastseek",  # or an MP3 would be read up to where it seeks
        "codec_whitelist": ",".join(sorted(CODECS)),
    }
    try:
        with av.open(file, "r", format=demuxer, options=options, metadata_errors="replace") as container:
            yield container, _audio_stream(container)
    except av.error.FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        raise CorruptAudio(f"cannot be decoded as {demuxer}: {error.strerror}") from error


def _begin(file: SourceFile) -> str:
    """Let `file` begin behind ID3 tags and their cover art, and name the demuxer of what is there."""
    start = 0
    head = file.read(HEAD_BYTES)
    while tag := id3_bytes(head):
        start += tag
        file.begin_at(start)
        head = file.read(HEAD_BYTES)
    file.begin_at(start)
    try:
        return demuxer_of(head)
    except MediaError:
        if not start:
            raise
        return "mp3"  # the usual thing behind a tag, here with padding in between


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise UnsupportedAudio("holds no audio stream")
    stream = container.streams.audio[0]
    codec = stream.codec_context.name
    if codec not in CODECS:
        raise UnsupportedAudio(f"audio codec {codec} is not supported")
    if stream.codec_context.channels > MAX_CHANNELS:
        raise UnsupportedAudio(f"has {stream.codec_context.channels} channels; at most {MAX_CHANNELS}")
    if not stream.codec_context.sample_rate:
        raise CorruptAudio("states no sample rate")
    # Parallelism comes from decoding several tracks at once.
    stream.codec_context.thread_count = 1
    return stream


def _by_seeking(container: InputContainer, stream: AudioStream, audio: AudioInput) -> Clip | None:
    """The windows, each reached by a seek; None where that cannot be trusted or does not pay."""
    if container.format.name in UNINDEXED or stream.duration is None or stream.time_base is None:
        return None
    # FFmpeg has put an MP3's table of contents here. Without it, it seeks as if the bit rate never changed.
    by_bit_rate = container.format.name == "mp3" and not len(stream.index_entries)
    seconds = float(stream.duration * stream.time_base)
    if seconds < 1.5 * audio.windows * audio.window_seconds:
        return None
    origin = stream.start_time or 0
    windows = []
    for start in window_starts(seconds, audio):
        aim = max(0.0, start - PREROLL_SECONDS)
        try:
            container.seek(origin + int(aim / stream.time_base), stream=stream)
        except av.error.FFmpegError:
            return None
        samples = _segment(container, stream, start, audio, by_bit_rate)
        if samples is None or len(samples) < audio.window_samples - audio.sample_rate // 10:
            return None
        windows.append(_fitted(samples, audio.window_samples))
    return Clip(np.stack(windows), seconds)


def _segment(
    container: InputContainer, stream: AudioStream, start: float, audio: AudioInput, by_bit_rate: bool
) -> Waveform | None:
    """Samples from `start` seconds on for one window, at the wanted rate; None if they cannot be placed."""
    rate = stream.codec_context.sample_rate
    needed = round(audio.window_seconds * rate)
    origin = float((stream.start_time or 0) * (stream.time_base or 0))
    parts: list[Waveform] = []
    held = 0
    decoded = 0
    for packet in container.demux(stream):
        if by_bit_rate and not _at_bit_rate(packet, stream):
            return None
        for frame in _frames(packet):
            if frame.pts is None or frame.time_base is None or frame.sample_rate != rate:
                return None
            samples = _mono(frame)
            decoded += len(samples)
            if decoded > MAX_DECODED_SAMPLES:
                return None
            late = round((float(frame.pts * frame.time_base) - origin) * rate) - round(start * rate)
            if not parts and late > rate // 10:
                return None  # the seek went too far
            part = samples[max(0, -late) :] if not parts else samples
            if len(part):
                parts.append(part)
                held += len(part)
        if held >= needed:
            break
    if not parts:
        return None
    return _resampled(np.concatenate(parts)[:needed], rate, audio.sample_rate)


def _at_bit_rate(packet: "Packet[AudioStream]", stream: AudioStream) -> bool:
    """Whether a packet has the bit rate that the stream began with; so has the empty one at the end."""
    if not packet.size or not packet.duration or not stream.bit_rate:
        return not packet.size
    bit_rate = 8 * packet.size / float(packet.duration * packet.time_base)
    return abs(bit_rate - stream.bit_rate) < SAME_BIT_RATE * stream.bit_rate


def _from_the_start(container: InputContainer, stream: AudioStream, audio: AudioInput) -> Clip:
    """The windows of what is decoded from the first sample on, up to `MAX_DECODED_SAMPLES`."""
    container.seek(0)
    rate = stream.codec_context.sample_rate
    parts: list[Waveform] = []
    held = 0
    for packet in container.demux(stream):
        for frame in _frames(packet):
            if frame.sample_rate != rate:
                raise UnsupportedAudio("changes its sample rate on the way")
            parts.append(_mono(frame))
            held += len(parts[-1])
        if held >= MAX_DECODED_SAMPLES:
            break
    if not parts:
        raise CorruptAudio("holds no audio that can be decoded")
    seconds = held / rate
    if seconds < MIN_SECONDS:
        raise ShortAudio(f"lasts {seconds:.2f} s; at least {MIN_SECONDS:g} s are needed")
    ends = np.cumsum([len(part) for part in parts])
    windows = []
    for start in window_starts(seconds, audio):
        first = round(start * rate)
        last = first + round(audio.window_seconds * rate)
        # The parts that the window lies in: the whole track in one piece would take its memory twice.
        within = slice(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(ends, last)) + 1)
        samples = np.concatenate(parts[within])
        first -= int(ends[within.start]) - len(parts[within.start])
        samples = samples[first : first + round(audio.window_seconds * rate)]
        windows.append(_fitted(_resampled(samples, rate, audio.sample_rate), audio.window_samples))
    return Clip(np.stack(windows), seconds)


def _frames(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    """Decoded frames. A damaged packet is passed over, as every player does: many real files have some."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


def _mono(frame: AudioFrame) -> Waveform:
    """The mean of a frame's channels, (samples,), full scale = ±1.

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


def _resampled(samples: Waveform, rate: int, wanted: int) -> Waveform:
    """`samples` (n,) at another rate, by FFmpeg's windowed-sinc resampler."""
    if rate == wanted or not len(samples):
        return samples
    frame = AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = AudioResampler(format="fltp", layout="mono", rate=wanted)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in frames])


def _fitted(samples: Waveform, length: int) -> Waveform:
    """Cut or padded with zeros to `length`."""
    fitted = np.zeros(length, dtype=np.float32)
    fitted[: len(samples)] = samples[:length]
    return fitted
