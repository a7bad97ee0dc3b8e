"""Encoded audio to mono waveform windows: the house's only decoder.

The demuxer is forced by magic bytes, only the first audio stream is read, and no length that a header
states is believed: what is decoded is bounded in samples. Channels are averaged, then resampled.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from media.errors import CorruptAudio, ShortAudio, SilentAudio, UnsupportedAudio
from media.sniff import HEAD_BYTES, demuxer_of
from media.windows import window_starts
from schemas.bundle import AudioInput

Waveform = NDArray[np.float32]

CODECS = frozenset({"mp3", "mp3float", "flac", "vorbis", "opus", "libopus", "aac", "alac"})
"""Decoders that may run, beside every `pcm_*`."""

MIN_SECONDS = 1.0
"""Less sound than this has no genre."""

SILENCE = 1e-4
"""Peak amplitude (full scale = 1) below which a track is silent: -80 dBFS."""

MAX_DECODED_SAMPLES = 20 * 60 * 48_000
"""Samples decoded of one file at most: a megabyte of encoded silence can hold days."""

MAX_CHANNELS = 8

UNINDEXED = frozenset({"aac"})
"""Containers whose length and positions are only estimated from the bit rate."""

PREROLL_SECONDS = 0.25
"""Decoded and thrown away before a window, since a codec needs some packets to settle after a seek."""


@dataclass(frozen=True)
class Clip:
    """What the model hears of a track."""

    windows: Waveform
    """(windows, samples), mono, full scale = ±1, zeros after the end of a short track."""
    seconds: float
    """How long the whole track lasts."""


def decode_windows(encoded: bytes, audio: AudioInput) -> Clip:
    """Cut the windows that `audio` asks for out of an encoded file.

    Windows are reached by seeking. Where the track has little more than the windows, or where
    its header misleads about its length, it is decoded from the start instead.

    Raises a MediaError that says what is wrong with the file.
    """
    demuxer = demuxer_of(encoded[:HEAD_BYTES])
    try:
        with av.open(io.BytesIO(encoded), "r", format=demuxer, metadata_errors="replace") as container:
            stream = _audio_stream(container)
            clip = _by_seeking(container, stream, audio) or _from_the_start(container, stream, audio)
    except av.error.FFmpegError as error:
        raise CorruptAudio(f"cannot be decoded as {demuxer}: {error.strerror}") from error
    if not np.isfinite(clip.windows).all():
        raise CorruptAudio("holds samples that are not numbers")
    if np.abs(clip.windows).max() < SILENCE:
        raise SilentAudio("is silent wherever the model listens")
    return clip


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise UnsupportedAudio("holds no audio stream")
    stream = container.streams.audio[0]
    codec = stream.codec_context.name
    if codec not in CODECS and not codec.startswith("pcm_"):
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
        samples = _segment(container, stream, start, audio)
        if samples is None or len(samples) < audio.window_samples - audio.sample_rate // 10:
            return None
        windows.append(_fitted(samples, audio.window_samples))
    return Clip(np.stack(windows), seconds)


def _segment(
    container: InputContainer, stream: AudioStream, start: float, audio: AudioInput
) -> Waveform | None:
    """Samples from `start` seconds on for one window, at the wanted rate; None if they cannot be placed."""
    rate = stream.codec_context.sample_rate
    needed = round(audio.window_seconds * rate)
    origin = stream.start_time or 0
    parts: list[Waveform] = []
    held = 0
    decoded = 0
    for frame in _frames(container, stream):
        if frame.pts is None or frame.time_base is None or frame.sample_rate != rate:
            return None
        samples = _mono(frame)
        decoded += len(samples)
        if decoded > MAX_DECODED_SAMPLES:
            return None
        at = round((float(frame.pts * frame.time_base) - float(origin * (stream.time_base or 0))) * rate)
        late = at - round(start * rate)
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


def _from_the_start(container: InputContainer, stream: AudioStream, audio: AudioInput) -> Clip:
    """The windows of what is decoded from the first sample on, up to `MAX_DECODED_SAMPLES`."""
    container.seek(0)
    rate = stream.codec_context.sample_rate
    parts: list[Waveform] = []
    held = 0
    for frame in _frames(container, stream):
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
    track = np.concatenate(parts)
    windows = []
    for start in window_starts(seconds, audio):
        first = round(start * rate)
        samples = track[first : first + round(audio.window_seconds * rate)]
        windows.append(_fitted(_resampled(samples, rate, audio.sample_rate), audio.window_samples))
    return Clip(np.stack(windows), seconds)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decoded frames. A damaged packet is passed over, as every player does: many real files have some."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


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
