"""How throughput grows with the number of workers: on a load that waits, and on one that computes.

    .venv/bin/python benchmarks/scaling.py

One, two and four worker processes label tracks from a full queue, each as on a machine of its own: one
thread for the model, one decode process, four tracks at once. The load that waits has short tracks behind
an S3 that answers late; the load that computes has three minutes of MP3 and an S3 that answers at once, and
each of its workers has one CPU: two share one where there are more workers than CPUs. Throughput is all
tracks over the time from the first being enqueued to the last commit. Efficiency is that throughput over
what one worker does times the number of workers, or, where they compute, of the CPUs that they have.
Servers and workers share the machine. Writes `benchmarks/results/scaling.md`.
"""

import os
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

from benchmarks.throughput import COMMITS, song
from media.cpus import available_cpus
from schemas.catalog.migrate import migrate
from schemas.jobs import InlineLyrics, ObjectRef, TrackJob
from storage.client import s3_client
from tests.faulty_s3 import FaultyS3
from worker.catalog.connect import connect
from worker.local.demo import running_worker, wait_for
from worker.local.stack import BUCKET, HOST, LocalStack, free_port, local_stack
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.settings import DEMO_DATA, BrokerSettings, CatalogSettings

RESULTS = Path(__file__).with_name("results") / "scaling.md"
WORKERS = (1, 2, 4)
BEFORE = os.getloadavg()[0]
EACH = {"COGENRE_THREADS": "1", "COGENRE_DECODERS": "1", "COGENRE_CONCURRENCY": "4"}


@dataclass(frozen=True)
class Load:
    name: str
    seconds: float
    """Of a track."""
    delay: float
    """Seconds before S3 answers."""
    tracks: int
    """A worker: all runs of a load take about as long where it scales."""
    pinned: bool
    """Whether each worker has one CPU only."""

    def parts(self, workers: int) -> int:
        """Among how many of what it needs the work is shared out."""
        return min(workers, available_cpus()) if self.pinned else workers


LOADS = (
    Load("waits", seconds=5, delay=2, tracks=40, pinned=False),
    Load("computes", seconds=180, delay=0, tracks=200, pinned=True),
)


def jobs(run: str, load: Load, count: int) -> list[TrackJob]:
    """No two of the same input: each has words of its own."""
    return [
        TrackJob(
            schema_version=1,
            track_id=f"{run}/{at}",
            audio=ObjectRef(bucket=BUCKET, key=f"{load.name}.mp3"),
            lyrics=InlineLyrics(text=f"{run} {at}"),
            enqueued_at=datetime.now(UTC),
        )
        for at in range(count)
    ]


@contextmanager
def workers(console: Console, count: int, pinned: bool) -> Iterator[subprocess.Popen[bytes]]:
    """So many, with their models loaded; one of them."""
    cpus = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        for number, port in enumerate(ports):
            os.environ["COGENRE_HTTP_PORT"] = str(port)
            if pinned:  # a process has the CPUs of the one that starts it
                os.sched_setaffinity(0, {cpus[number % len(cpus)]})
            last = stack.enter_context(running_worker(console))
            os.sched_setaffinity(0, cpus)
        while not all(map(ready, ports)):
            time.sleep(0.2)
        yield last


def ready(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=5).close()
    except (urllib.error.HTTPError, OSError):
        return False
    return True


def rate(console: Console, engine: Engine, load: Load, count: int) -> float:
    """Tracks a second with so many workers."""
    run = f"{load.name}-{count}"
    tracks = jobs(run, load, load.tracks * count)
    with workers(console, count, load.pinned) as worker:
        began = datetime.now(UTC).timestamp()
        enqueue(engine, celery_app(BrokerSettings.load()), tracks)
        wait_for(console, engine, worker, [track.track_id for track in tracks])
    with engine.connect() as connection:
        commits = connection.execute(COMMITS, {"run": run}).all()
    return len(commits) / (float(commits[-1].at) - began)


def measure(console: Console, stack: LocalStack, engine: Engine, load: Load) -> list[float]:
    s3_client().put_object(Bucket=BUCKET, Key=f"{load.name}.mp3", Body=song(1, load.seconds))
    with FaultyS3(stack.s3_port, delay=load.delay).serving() as late:
        url = os.environ["COGENRE_S3_ENDPOINT_URL"]
        os.environ["COGENRE_S3_ENDPOINT_URL"] = late.url if load.delay else url
        rates = [rate(console, engine, load, count) for count in WORKERS]
        os.environ["COGENRE_S3_ENDPOINT_URL"] = url
    return rates


def page(measured: dict[Load, list[float]]) -> str:
    lines = [
        "# Horizontal scaling, measured\n",
        f"`python benchmarks/scaling.py`, {datetime.now(UTC):%Y-%m-%d}, the demo's bundle, "
        f"{available_cpus()} CPUs ({platform.machine()}), which servers and workers share.",
        "Each worker: one thread for the model, one decode process, four tracks at once.",
        f"Load of the machine (1 minute) before: {BEFORE:.1f}.\n",
        "| load | workers | tracks/s | speed-up | efficiency |\n|---|--:|--:|--:|--:|",
    ]
    for load, rates in measured.items():
        for count, tracks in zip(WORKERS, rates, strict=True):
            speedup = tracks / rates[0]
            shared = speedup / load.parts(count)
            lines.append(f"| {load.name} | {count} | {tracks:.2f} | {speedup:.2f} | {shared:.0%} |")
    lines += [
        f"\n*{load.name}*: MP3s of {load.seconds:g} s, each S3 request answered after {load.delay:g} s, "
        f"{load.tracks} tracks a worker{', each on one CPU' if load.pinned else ''}."
        for load in measured
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    console = Console(width=120, highlight=False, file=sys.stderr)
    with local_stack() as stack:
        os.environ.update(stack.environment() | {"COGENRE_BUNDLE": str(DEMO_DATA / "bundle")} | EACH)
        engine = connect(CatalogSettings.load())
        migrate(engine)
        text = page({load: measure(console, stack, engine, load) for load in LOADS})
        engine.dispose()
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
