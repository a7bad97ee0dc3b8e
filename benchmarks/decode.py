"""Measures the cost of decoding a track, in this process and through the pool, and the bytes read.

    python benchmarks/decode.py [--rounds 30]

The track is 3 minutes of MP3 at 320 kb/s, with one window of 30 s. The variants alternate.
Medians are printed.
"""

import argparse
import io
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from media.decode import Clip, decode_windows
from media.decoders import DecoderPool
from media.source import BytesSource
from schemas.bundle import AudioInput

SECONDS, RATE = 180, 44_100
AUDIO = AudioInput(sample_rate=22_050, window_seconds=30, windows=1, picking="spread")


class CountedSource(BytesSource):
    """A source that counts its requests and the bytes read, for all instances together."""

    read = requests = 0

    def read_at(self, offset: int, length: int) -> bytes:
        CountedSource.requests += 1
        CountedSource.read += length
        return super().read_at(offset, length)


def track() -> bytes:
    """Return an encoded chord with noise, which costs as much to decode as music."""
    time_ = np.arange(SECONDS * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * time_) for hertz in (220, 277, 330)) / 8
    sound = chord + np.random.default_rng(0).normal(0, 0.05, (2, len(time_)))
    frame = av.AudioFrame.from_ndarray(sound.astype(np.float32), format="fltp", layout="stereo")
    frame.sample_rate = RATE
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE, layout="stereo")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 320_000
        resampler = av.AudioResampler("fltp", "stereo", RATE, 1152)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            out.mux(stream.encode(part))
    return file.getvalue()


def children_cpu() -> float:
    """Return the CPU-seconds of this process's running children."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat.read_text().rpartition(")")[2].split()
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def own_cpu() -> float:
    """Return the CPU-seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(decode: Callable[[], Clip], repeat: int = 5) -> tuple[float, float]:
    """Return wall and CPU milliseconds per track, with the CPU time of children."""
    wall, cpu = time.perf_counter(), own_cpu() + children_cpu()
    for _ in range(repeat):
        decode()
    return (
        (time.perf_counter() - wall) / repeat * 1000,
        (own_cpu() + children_cpu() - cpu) / repeat * 1000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    source = CountedSource(track())
    started = time.perf_counter()
    pool = DecoderPool(1, seconds=60, memory_bytes=512 << 20, recycle_after=10**9)
    start = time.perf_counter() - started
    variants: dict[str, Callable[[], Clip]] = {
        "in this process": lambda: decode_windows(source, AUDIO),
        "through the pool": lambda: pool.decode(source, AUDIO),
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for decode in variants.values():
        decode()
    for _ in range(rounds):
        for name, decode in variants.items():
            runs[name].append(timed(decode))
    CountedSource.read = CountedSource.requests = 0
    pool.decode(source, AUDIO)
    pool.close()
    print("| 30 s of a 3-minute MP3 at 320 kb/s | wall, ms a track | CPU, ms a track |")
    print("|---|---|---|")
    for name, measured in runs.items():
        wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |")
    print()
    print(
        f"Read: {CountedSource.read / 1e6:.2f} of {source.size / 1e6:.2f} MB in {CountedSource.requests} "
        f"requests. A process starts in {start:.2f} s. Medians of {rounds} rounds of 5 tracks."
    )


if __name__ == "__main__":
    main()
