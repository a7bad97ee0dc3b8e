"""Measure how throughput grows with the number of workers, on a load that waits and on one that computes.

    .venv/bin/python benchmarks/scaling.py

One, two and four worker processes label tracks from a full queue. Each worker has one thread for the model,
one decode process and four tracks in progress. The load "waits" has short tracks and an S3 server that
answers late. The load "computes" has MP3s of three minutes and an S3 server that answers at once; each
worker is pinned to one CPU, and workers share CPUs if there are more workers than CPUs. Throughput is the
number of tracks, divided by the time from the first enqueue to the last commit. Efficiency is the
throughput, divided by the throughput of one worker times the number of workers; for "computes", times the
number of CPUs that the workers use. Servers and workers share the machine. Writes
`benchmarks/results/scaling.md`.
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

from benchmarks.throughput import COMMITS, jobs, song
from media.cpus import available_cpus
from schemas.catalog.migrate import migrate
from storage.client import s3_client
from tests.faulty_s3 import FaultyS3
from worker.catalog.connect import connect
from worker.local.demo import running_worker, wait_until_finished
from worker.local.stack import BUCKET, HOST, LocalStack, free_port, local_stack
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.settings import DEMO_DATA, BrokerSettings, CatalogSettings

RESULTS = Path(__file__).with_name("results") / "scaling.md"
WORKERS = (1, 2, 4)
LOAD_BEFORE = os.getloadavg()[0]
WORKER_SETTINGS = {"COGENRE_THREADS": "1", "COGENRE_DECODERS": "1", "COGENRE_CONCURRENCY": "4"}


@dataclass(frozen=True)
class Load:
    """A kind of tracks, and the S3 server that serves them."""

    name: str
    seconds: float
    """Length of a track, in seconds."""
    delay: float
    """Seconds until S3 answers a request."""
    tracks: int
    """Tracks for each worker, so that all runs take equally long if throughput scales."""
    pinned: bool
    """Whether each worker is pinned to one CPU."""

    @property
    def key(self) -> str:
        """Key of the audio file in S3."""
        return f"{self.name}.mp3"

    def resources(self, workers: int) -> int:
        """Return the number of CPUs that the workers use if they are pinned, else the number of workers."""
        return min(workers, available_cpus()) if self.pinned else workers


LOADS = (
    Load("waits", seconds=5, delay=2, tracks=40, pinned=False),
    Load("computes", seconds=180, delay=0, tracks=200, pinned=True),
)


@contextmanager
def workers(console: Console, count: int, pinned: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Run `count` workers, wait until their models are loaded, and yield one of the processes."""
    cpus = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        for number, port in enumerate(ports):
            os.environ["COGENRE_HTTP_PORT"] = str(port)
            if pinned:  # a child process inherits the CPUs of its parent
                os.sched_setaffinity(0, {cpus[number % len(cpus)]})
            last = stack.enter_context(running_worker(console))
            os.sched_setaffinity(0, cpus)
        while not all(map(is_ready, ports)):
            time.sleep(0.2)
        yield last


def is_ready(port: int) -> bool:
    """Return whether the worker with this HTTP port is ready."""
    try:
        urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=5).close()
    except (urllib.error.HTTPError, OSError):
        return False
    return True


def measure_rate(console: Console, engine: Engine, load: Load, count: int) -> float:
    """Return tracks per second with `count` workers."""
    run = f"{load.name}-{count}"
    tracks = jobs(run, load.tracks * count, [load.key], lyrics="")
    with workers(console, count, load.pinned) as worker:
        started = datetime.now(UTC).timestamp()
        enqueue(engine, celery_app(BrokerSettings.load()), tracks)
        wait_until_finished(console, engine, worker, [track.track_id for track in tracks])
    with engine.connect() as connection:
        commits = connection.execute(COMMITS, {"run": run}).all()
    return len(commits) / (float(commits[-1].at) - started)


def measure(console: Console, stack: LocalStack, engine: Engine, load: Load) -> list[float]:
    """Return tracks per second for each number of workers in WORKERS."""
    s3_client().put_object(Bucket=BUCKET, Key=load.key, Body=song(1, load.seconds))
    with FaultyS3(stack.s3_port, delay=load.delay).serving() as late:
        url = os.environ["COGENRE_S3_ENDPOINT_URL"]
        os.environ["COGENRE_S3_ENDPOINT_URL"] = late.url if load.delay else url
        rates = [measure_rate(console, engine, load, count) for count in WORKERS]
        os.environ["COGENRE_S3_ENDPOINT_URL"] = url
    return rates


def page(measured: dict[Load, list[float]]) -> str:
    """Return the page of results, as Markdown."""
    lines = [
        "# Horizontal scaling, measured\n",
        f"`python benchmarks/scaling.py`, {datetime.now(UTC):%Y-%m-%d}, the demo's bundle, "
        f"{available_cpus()} CPUs ({platform.machine()}), which servers and workers share.",
        "Each worker has one thread for the model, one decode process and four tracks in progress.",
        f"Load average (1 minute) before the run: {LOAD_BEFORE:.1f}.\n",
        "| load | workers | tracks/s | speed-up | efficiency |\n|---|--:|--:|--:|--:|",
    ]
    for load, rates in measured.items():
        for count, tracks in zip(WORKERS, rates, strict=True):
            speedup = tracks / rates[0]
            efficiency = speedup / load.resources(count)
            lines.append(f"| {load.name} | {count} | {tracks:.2f} | {speedup:.2f} | {efficiency:.0%} |")
    lines += [
        f"\n*{load.name}*: MP3s of {load.seconds:g} s, each S3 request answered after {load.delay:g} s, "
        f"{load.tracks} tracks per worker{', each worker on one CPU' if load.pinned else ''}."
        for load in measured
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    console = Console(width=120, highlight=False, file=sys.stderr)
    with local_stack() as stack:
        os.environ.update(
            stack.environment() | {"COGENRE_BUNDLE": str(DEMO_DATA / "bundle")} | WORKER_SETTINGS
        )
        engine = connect(CatalogSettings.load())
        migrate(engine)
        text = page({load: measure(console, stack, engine, load) for load in LOADS})
        engine.dispose()
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
