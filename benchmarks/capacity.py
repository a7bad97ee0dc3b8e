"""How many workers a load takes, from the stage costs that benchmarks/throughput.py measured.

    .venv/bin/python benchmarks/capacity.py [benchmarks/results/throughput.json] [--cpus 8] [--concurrency 16]

A track costs its stages' CPU-seconds, on a GPU all but the session's, whose device is the GPU for so many
seconds. A worker gets through what its CPUs allow, times how near the measured worker came to that limit, or
what its GPU allows, whichever is less. Of that, `BUSY` is planned with. docs/capacity.md shows the output.
"""

import argparse
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

BUSY = 0.7
"""Share of time that a worker is meant to work: above it queues grow at every hiccup."""

PEAK = 3
"""The busiest hour of a day, over the mean hour. An assumption: look at your own."""

DAILY = (10_000, 100_000, 1_000_000)
"""New tracks a day."""

BACKFILLS = ((1, 1), (10, 7), (100, 30))
"""Millions of tracks, and in how many days."""


@dataclass(frozen=True)
class Worker:
    """What one worker gets through."""

    cpu_seconds: float
    """A track's, of all that runs on the CPU."""
    efficiency: float
    """Throughput over the limit of the CPUs, measured."""
    device_seconds: float | None
    """A track's on the GPU; None where the session runs on the CPU."""

    @classmethod
    def measured(cls, figures: dict[str, Any]) -> "Worker":
        seconds = dict(figures["cpu_seconds"])
        if figures["provider"] == "cpu":
            return cls(sum(seconds.values()), figures["efficiency"], None)
        seconds.pop("session")
        return cls(sum(seconds.values()), figures["efficiency"], figures["device_seconds"])

    def tracks_a_second(self, cpus: int) -> float:
        """At full load."""
        by_cpu = cpus * self.efficiency / self.cpu_seconds
        return by_cpu if self.device_seconds is None else min(by_cpu, 1 / self.device_seconds)


def workers(rate: float, worker: Worker, cpus: int) -> int:
    """How many, of `cpus` CPUs each (and a GPU, if measured on one), for `rate` tracks a second."""
    return math.ceil(rate / (worker.tracks_a_second(cpus) * BUSY))


def catalog_gib() -> float:
    """GiB of a million tracks that one model has classified, as benchmarks/catalog.py measured."""
    page = (RESULTS / "catalog.md").read_text()
    found = re.search(r"^([\d,]+) tracks, two models: ([\d.]+) GiB", page, re.MULTILINE)
    if found is None:
        raise SystemExit("benchmarks/results/catalog.md does not say how large the catalog is")
    return float(found[2]) / 2 / (int(found[1].replace(",", "")) / 1e6)


def plan(figures: dict[str, Any], cpus: int, concurrency: int) -> str:
    """The tables, as Markdown."""
    worker = Worker.measured(figures)
    connections = concurrency + 1  # one for each track under way, and one for all else
    cost = " + ".join(f"{seconds:.4f} {stage}" for stage, seconds in figures["cpu_seconds"].items())
    kind = f"{cpus} CPUs" if worker.device_seconds is None else f"{cpus} CPUs and a GPU"
    lines = [
        f"`{figures['command']}`, {figures['date']}, {figures['machine']}, load of the machine (5 minutes) "
        f"{figures['load']}: model {figures['model']}, {figures['provider']}, {figures['precision']}; "
        f"tracks of {figures['track']}.",
        "",
        f"CPU-seconds a track: {cost} = {sum(figures['cpu_seconds'].values()):.4f}. "
        f"Efficiency: {figures['efficiency']:.2f}.",
        f"A worker with {kind}: {worker.tracks_a_second(cpus):.1f} tracks/s at full load, "
        f"{worker.tracks_a_second(cpus) * BUSY:.1f} planned with.",
        "",
        f"| new tracks a day | tracks/s at the peak | workers of {kind} | connections to the catalog |",
        "|--:|--:|--:|--:|",
    ]
    for tracks in DAILY:
        rate = tracks * PEAK / 86_400
        count = workers(rate, worker, cpus)
        lines.append(f"| {tracks:,} | {rate:,.2f} | {count:,} | {count * connections:,} |")
    lines += [
        "",
        f"| backfill | tracks/s | workers of {kind} | connections to the catalog | added to the catalog |",
        "|---|--:|--:|--:|--:|",
    ]
    for millions, days in BACKFILLS:
        rate = millions * 1e6 / (days * 86_400)
        count = workers(rate, worker, cpus)
        lines.append(
            f"| {millions:,} million in {days} {'day' if days == 1 else 'days'} | {rate:,.1f} | {count:,} "
            f"| {count * connections:,} | {millions * catalog_gib():,.0f} GiB |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("figures", type=Path, nargs="?", default=RESULTS / "throughput.json")
    arguments.add_argument("--cpus", type=int, help="of a worker; by default as many as were measured")
    arguments.add_argument(
        "--concurrency", type=int, default=16, help="of a worker, its COGENRE_CONCURRENCY (default 16)"
    )
    given = arguments.parse_args()
    figures = json.loads(given.figures.read_text())
    print(plan(figures, given.cpus or figures["cpus"], given.concurrency), end="")


if __name__ == "__main__":
    main()
