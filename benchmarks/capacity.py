"""Compute the number of workers for a load, from the stage costs that benchmarks/throughput.py measured.

    .venv/bin/python benchmarks/capacity.py [benchmarks/results/throughput.json] [--cpus 8] [--concurrency 16]

A track costs the CPU-seconds of its stages. On a GPU the session costs GPU seconds instead. The throughput
of a worker is the limit of its CPUs times the measured efficiency, or the limit of its GPU, whichever is
less. Workers are planned for the share `UTILISATION` of that throughput. docs/capacity.md contains the
output.
"""

import argparse
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

UTILISATION = 0.7
"""Planned share of a worker's throughput. At a higher share the queue grows with each disturbance."""

PEAK = 3
"""Ratio of the busiest hour of a day to the mean hour. An assumption: use the ratio of your own load."""

DAILY = (10_000, 100_000, 1_000_000)
"""New tracks per day."""

BACKFILLS = ((1, 1), (10, 7), (100, 30))
"""(millions of tracks, days)."""


@dataclass(frozen=True)
class Worker:
    """The measured costs of one worker."""

    cpu_seconds: float
    """CPU-seconds per track of all stages that run on the CPU."""
    efficiency: float
    """Measured throughput, divided by the limit of the CPUs."""
    device_seconds: float | None
    """GPU seconds per track; None if the session runs on the CPU."""

    @classmethod
    def from_figures(cls, figures: dict[str, Any]) -> "Worker":
        """Return the costs in the JSON that benchmarks/throughput.py writes."""
        seconds = dict(figures["cpu_seconds"])
        if figures["provider"] == "cpu":
            return cls(sum(seconds.values()), figures["efficiency"], None)
        seconds.pop("session")
        return cls(sum(seconds.values()), figures["efficiency"], figures["device_seconds"])

    def tracks_per_second(self, cpus: int) -> float:
        """Return the throughput at full load with `cpus` CPUs."""
        by_cpu = cpus * self.efficiency / self.cpu_seconds
        return by_cpu if self.device_seconds is None else min(by_cpu, 1 / self.device_seconds)


def workers(rate: float, worker: Worker, cpus: int) -> int:
    """Return the number of workers, with `cpus` CPUs each, for `rate` tracks per second."""
    return math.ceil(rate / (worker.tracks_per_second(cpus) * UTILISATION))


def catalog_gib() -> float:
    """Return the GiB of a million tracks with the results of one model, from results/catalog.md."""
    page = (RESULTS / "catalog.md").read_text()
    match = re.search(r"^([\d,]+) tracks, two models: ([\d.]+) GiB", page, re.MULTILINE)
    if match is None:
        raise SystemExit(
            "benchmarks/results/catalog.md has no line with the catalog's size: run benchmarks/catalog.py"
        )
    return float(match[2]) / 2 / (int(match[1].replace(",", "")) / 1e6)


def plan(figures: dict[str, Any], cpus: int, concurrency: int) -> str:
    """Return the tables, as Markdown."""
    worker = Worker.from_figures(figures)
    connections = concurrency + 1  # one for each track in progress, and one for everything else
    cost = " + ".join(f"{seconds:.4f} {stage}" for stage, seconds in figures["cpu_seconds"].items())
    kind = f"{cpus} CPUs" if worker.device_seconds is None else f"{cpus} CPUs and a GPU"
    lines = [
        f"`{figures['command']}`, {figures['date']}, {figures['machine']}, load average (5 minutes) "
        f"{figures['load']}: model {figures['model']}, {figures['provider']}, {figures['precision']}; "
        f"tracks of {figures['track']}.",
        "",
        f"CPU-seconds per track: {cost} = {sum(figures['cpu_seconds'].values()):.4f}. "
        f"Efficiency: {figures['efficiency']:.2f}.",
        f"A worker with {kind}: {worker.tracks_per_second(cpus):.1f} tracks/s at full load, "
        f"{worker.tracks_per_second(cpus) * UTILISATION:.1f} planned.",
        "",
        f"| new tracks per day | tracks/s at the peak | workers of {kind} | connections to the catalog |",
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
    arguments.add_argument("--cpus", type=int, help="CPUs of a worker (default: the measured number)")
    arguments.add_argument(
        "--concurrency", type=int, default=16, help="COGENRE_CONCURRENCY of a worker (default: 16)"
    )
    given = arguments.parse_args()
    figures = json.loads(given.figures.read_text())
    print(plan(figures, given.cpus or figures["cpus"], given.concurrency), end="")


if __name__ == "__main__":
    main()
