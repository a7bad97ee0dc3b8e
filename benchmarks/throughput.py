"""Measure a worker's throughput relative to the limit of its stages, its latency and its memory.

    .venv/bin/python benchmarks/throughput.py BUNDLE [--precision int8] [--tracks 200] [--json FILE]
    .venv/bin/python benchmarks/throughput.py BUNDLE --memory 10000

MP3s of three minutes at 320 kb/s are in the local S3 server. One worker labels them from a full queue. The
throughput is in tracks per second, from the first commit to the last. The limit is the number of CPUs,
divided by the CPU-seconds per track of decoding, tokenising and the session; each stage is measured alone,
before and after. Then tracks are enqueued at half that rate, and the latency is the time from enqueue to
commit, in total and by stage. `--memory` labels that number of short tracks instead, and compares the
worker's memory at the end with the memory after the first 1,000 tracks. `--json` writes the input of
benchmarks/capacity.py.
"""

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console
from sqlalchemy import Engine, text

from benchmarks.machine import command, processor
from media.cpus import available_cpus
from media.decode import decode_windows
from schemas.catalog.migrate import migrate
from schemas.jobs import InlineLyrics, ObjectRef, TrackJob
from storage.client import s3_client
from worker.catalog.connect import connect
from worker.local.demo import running_worker, wait_until_finished
from worker.local.stack import BUCKET, local_stack
from worker.models.model import Model, ModelInput
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.settings import BrokerSettings, CatalogSettings, ModelSettings

SONG_KEYS = ("song-0.mp3", "song-1.mp3")
"""Keys of the audio files. Encoding is slow, so jobs share files and differ in their lyrics."""
RATE = 44_100
WARM_UP_TRACKS = 16
"""Tracks that are labelled before the measurement."""
ROUNDS = 3
LYRICS = "we danced all night beneath the silver moon and never said goodbye " * 40

COMMITS = text("""
    select track_id, extract(epoch from classified_at) as at,
           extract(epoch from classified_at - enqueued_at) as seconds, timings - 'wait' as timings
    from classification where track_id like :run || '/%' order by classified_at
""")


def song(seed: int, seconds: float) -> bytes:
    """Return an MP3 of noise with beats at 320 kb/s, so that every frame is expensive to decode."""
    rng = np.random.default_rng(seed)
    beat = np.exp(-8 * (np.arange(round(seconds * RATE)) / RATE % 0.5))
    samples = (0.2 * beat * rng.normal(size=(2, len(beat)))).astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream: Any = out.add_stream("libmp3lame", rate=RATE, layout="stereo")
        stream.bit_rate = 320_000
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format.name, "stereo", RATE, stream.codec_context.frame_size)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            out.mux(stream.encode(part))
    return file.getvalue()


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU-seconds of this process that a call takes."""
    started = time.process_time()
    call()
    return time.process_time() - started


def full_batch(model: Model, encoded: bytes, rows: int) -> list[ModelInput]:
    """Return a full batch of tracks with different lyrics, because equal lyrics would be encoded once."""
    windows = decode_windows(encoded, model.manifest.audio).windows
    return [
        ModelInput(windows, model.encode_lyrics(f"{at} {LYRICS}", None)[0])
        for at in range(max(1, rows // len(windows)))
    ]


def stage_costs(model: Model, encoded: bytes, batch: Sequence[ModelInput]) -> dict[str, float]:
    """Return the CPU-seconds per track of each stage, measured alone."""
    return {
        "decode": cpu_seconds(lambda: decode_windows(encoded, model.manifest.audio)),
        "tokenise": cpu_seconds(lambda: model.encode_lyrics(LYRICS, None)),
        "session": cpu_seconds(lambda: model.predict(batch)) / len(batch),
    }


def device_seconds(model: Model, batch: Sequence[ModelInput]) -> float:
    """Return the seconds per track for which the session uses its device, which is the CPUs or a GPU."""
    started = time.perf_counter()
    model.predict(batch)
    return (time.perf_counter() - started) / len(batch)


def jobs(run: str, count: int, keys: Sequence[str] = SONG_KEYS, lyrics: str = LYRICS) -> list[TrackJob]:
    """Return jobs for the audio files `keys` in turn. Their lyrics differ, so that no result is reused."""
    return [
        TrackJob(
            schema_version=1,
            track_id=f"{run}/{at}",
            audio=ObjectRef(bucket=BUCKET, key=keys[at % len(keys)]),
            lyrics=InlineLyrics(text=f"{run} {at} {lyrics}"),
            enqueued_at=datetime.now(UTC),
        )
        for at in range(count)
    ]


def upload(seconds: float) -> bytes:
    """Upload the audio files; return the first of them."""
    s3 = s3_client()
    encoded = [song(seed, seconds) for seed in range(len(SONG_KEYS))]
    for key, content in zip(SONG_KEYS, encoded, strict=True):
        s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    return encoded[0]


def percentiles(values: Sequence[float]) -> str:
    """Return the median and the 99th percentile, as cells of a table."""
    ordered = sorted(values)
    return (
        f"{statistics.median(ordered):.3f} | {ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]:.3f}"
    )


def measure_speed(
    console: Console, engine: Engine, settings: ModelSettings, tracks: int, figures_file: Path | None
) -> None:
    """Measure throughput and latency, print them, and write them to `figures_file` if it is given."""
    encoded = upload(seconds=180)
    app = celery_app(BrokerSettings.load())
    model = Model(settings)
    batch = full_batch(model, encoded, settings.batch_rows)
    costs = [stage_costs(model, encoded, batch) for _ in range(ROUNDS)]
    with running_worker(console) as worker:
        enqueue(engine, app, jobs("warm", WARM_UP_TRACKS))
        wait_until_finished(console, engine, worker, [job.track_id for job in jobs("warm", WARM_UP_TRACKS)])
        enqueue(engine, app, jobs("full", tracks))
        wait_until_finished(console, engine, worker, [job.track_id for job in jobs("full", tracks)])
        with engine.connect() as connection:
            full = connection.execute(COMMITS, {"run": "full"}).all()
        rate = (tracks - 1) / float(full[-1].at - full[0].at)
        for job in jobs("half", tracks // 2):
            enqueue(engine, app, [job.model_copy(update={"enqueued_at": datetime.now(UTC)})])
            time.sleep(2 / rate)
        wait_until_finished(console, engine, worker, [job.track_id for job in jobs("half", tracks // 2)])
    costs += [stage_costs(model, encoded, batch) for _ in range(ROUNDS)]
    device = statistics.median(device_seconds(model, batch) for _ in range(ROUNDS))
    stage_medians = {stage: statistics.median(cost[stage] for cost in costs) for stage in costs[0]}
    limit = available_cpus() / sum(stage_medians.values())
    with engine.connect() as connection:
        half = connection.execute(COMMITS, {"run": "half"}).all()
    write = console.print
    write(f"## Throughput\n\n{tracks} tracks of 180 s, MP3 at 320 kb/s, {settings.precision}.\n")
    write("| stage, measured alone | CPU-seconds per track |\n|---|--:|")
    for stage, seconds in stage_medians.items():
        write(f"| {stage} | {seconds:.4f} |")
    write(
        f"\n| | tracks/s |\n|---|--:|\n| limit: {available_cpus()} CPUs / sum of the stages | {limit:.2f} |"
    )
    write(f"| one worker, end to end | {rate:.2f} |\n| ratio | {rate / limit:.2f} |")
    write(
        f"\n## Latency at half that load, {tracks // 2} tracks\n\n"
        "| seconds | median | 99th percentile |\n|---|--:|--:|"
    )
    write(f"| enqueue to commit | {percentiles([float(row.seconds) for row in half])} |")
    for stage in half[0].timings:
        write(f"| {stage} | {percentiles([row.timings[stage] / 1000 for row in half])} |")
    if figures_file:
        figures = {
            "command": command(),
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": f"{available_cpus()} CPUs of {processor()}",
            "model": model.manifest.label,
            "provider": model.provider,
            "precision": model.precision,
            "track": "180 s, MP3 at 320 kb/s, with lyrics",
            "cpus": available_cpus(),
            "load": round(os.getloadavg()[1], 1),
            "cpu_seconds": {stage: round(seconds, 5) for stage, seconds in stage_medians.items()},
            "device_seconds": round(device, 5),
            "efficiency": round(rate / limit, 3),
        }
        figures_file.write_text(json.dumps(figures, indent=2) + "\n")


def measure_memory(console: Console, engine: Engine, count: int) -> None:
    """Print the worker's memory after the first 1,000 tracks and after `count` tracks."""
    upload(seconds=12)
    app = celery_app(BrokerSettings.load())
    all_jobs = jobs("memory", count)
    with running_worker(console) as worker:
        status = Path(f"/proc/{worker.pid}/status")
        for part in (all_jobs[:1000], all_jobs[1000:]):
            enqueue(engine, app, part)
            wait_until_finished(console, engine, worker, [job.track_id for job in part])
            resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            console.print(f"{resident.split()[1]} kB after {part[-1].track_id.split('/')[1]} tracks")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("bundle", type=Path)
    arguments.add_argument("--precision", default="fp32")
    arguments.add_argument("--tracks", type=int, default=200)
    arguments.add_argument("--memory", type=int)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    console = Console(width=160, highlight=False)
    with local_stack() as stack:
        os.environ.update(
            stack.environment() | {"COGENRE_BUNDLE": str(given.bundle), "COGENRE_PRECISION": given.precision}
        )
        engine = connect(CatalogSettings.load())
        migrate(engine)
        console.print(f"`{command()}`, {datetime.now(UTC):%Y-%m-%d}, {available_cpus()} CPUs\n")
        if given.memory:
            measure_memory(console, engine, given.memory)
        else:
            measure_speed(console, engine, ModelSettings.load(), given.tracks, given.json)


if __name__ == "__main__":
    main()
