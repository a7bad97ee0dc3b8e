"""Measure the jobs per second that `cogenre enqueue` enqueues from a file, and checks in a dry run.

    .venv/bin/python benchmarks/enqueue.py [--jobs 20000]

The command runs as a process with the Redis and PostgreSQL of the local stack. Its start-up time is included.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import redis
from rich.console import Console

from benchmarks.machine import command
from benchmarks.throughput import jobs
from media.cpus import available_cpus
from schemas.catalog.migrate import migrate
from worker.catalog.connect import connect
from worker.local.stack import local_stack
from worker.settings import BrokerSettings, CatalogSettings

ROUNDS = 3


def write_jobs(file: Path, run: str, count: int) -> None:
    """Write jobs of different tracks, one JSON object on each line."""
    with file.open("w") as lines:
        for job in jobs(run, count):
            lines.write(job.model_dump_json() + "\n")


def measure_rate(file: Path, count: int, *options: str) -> float:
    """Return jobs per second of one run of `cogenre enqueue`."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "worker.cli", "enqueue", str(file), *options],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return count / (time.monotonic() - started)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--jobs", type=int, default=20_000)
    count = arguments.parse_args().jobs
    console = Console(width=160, highlight=False)
    with local_stack() as stack, tempfile.TemporaryDirectory() as folder:
        os.environ.update(stack.environment())
        migrate(connect(CatalogSettings.load()))
        queue = redis.Redis.from_url(BrokerSettings.load().broker_url.get_secret_value())
        file = Path(folder) / "jobs.jsonl"
        rates: dict[str, list[float]] = {"dry run": [], "new tracks": [], "the same tracks again": []}
        for turn in range(ROUNDS):
            write_jobs(file, str(turn), count)
            rates["dry run"].append(measure_rate(file, count, "--dry-run"))
            rates["new tracks"].append(measure_rate(file, count))
            rates["the same tracks again"].append(measure_rate(file, count))
            queue.flushall()
    console.print(f"`{command()}`, {datetime.now(UTC):%Y-%m-%d}, {available_cpus()} CPUs\n")
    console.print("| jobs with 2.7 kB of lyrics | jobs/s, median of 3 |\n|---|--:|")
    for name, measured in rates.items():
        console.print(f"| {name} | {statistics.median(measured):,.0f} |")


if __name__ == "__main__":
    main()
