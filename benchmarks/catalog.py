"""How fast the catalog answers and takes labels, empty and full: `python benchmarks/catalog.py`.

Measures on a local stack of its own, whose commits wait for the disk: every question of docs/analyse.md with
the indexes that its plan uses, the refresh, a worker's writes into an empty and into full catalogs, turn by
turn, two minutes of readers, writers and refreshes at once, and a promotion. Writes
`benchmarks/results/catalog.md`.
"""

import argparse
import os
import re
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import Engine, create_engine, make_url, text

from benchmarks.catalog_data import generate, load, manifest
from benchmarks.machine import machine
from schemas.catalog.migrate import migrate
from schemas.jobs import ObjectRef, TrackJob
from schemas.labels import LabelRule
from worker.catalog.lifecycle import promote
from worker.catalog.models import register_model
from worker.catalog.refresh import refresh
from worker.catalog.similarity import probes
from worker.catalog.tracks import Classified, TrackCatalog
from worker.local.stack import local_stack
from worker.models.serving import MAX_COMMIT_TRACKS
from worker.results import Prediction, TrackResult

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "analyse.md"
RESULTS = Path(__file__).with_name("results") / "catalog.md"
QUESTION = re.compile(
    r"^## (?P<title>[^\n]+)\n(?P<prose>(?:(?!^## ).)*?)```sql\n(?P<sql>.*?)```", re.DOTALL | re.MULTILINE
)

REPEATS = 7
BOUND_MS = 300
WRITE_BOUND = 3000
RATIO_BOUND = 0.7


PAIR = ("'electronic'", "'ambient'", "'techno'")
"""What the question about two genres and not a third names. Asked of `PAIRS` pairs, from common to rare."""
PAIRS = 10
TURN_GROUPS = 40
"""Groups that are written into one catalog before it is the next one's turn."""


@dataclass
class Writes:
    """Into one catalog."""

    groups: list[float] = field(default_factory=list)
    """Seconds of each, stalls included."""
    cpu: float = 0
    """Seconds of client and server together."""

    @property
    def rate(self) -> float:
        """Tracks a second: all of them, by all the time that it took."""
        return len(self.groups) * MAX_COMMIT_TRACKS / sum(self.groups)

    @property
    def cpu_rate(self) -> float:
        """What a core of its own for each of client and server would at least allow."""
        return len(self.groups) * MAX_COMMIT_TRACKS / self.cpu


@dataclass
class Measured:
    """A catalog of one size."""

    tracks: int
    bytes: int = 0
    milliseconds: dict[str, float] = field(default_factory=dict)
    """Median a question."""
    indexes: dict[str, list[str]] = field(default_factory=dict)
    refreshes: list[dict[str, float]] = field(default_factory=list)
    """Seconds a view, the first time and after that."""
    promotion_seconds: float = 0
    moved: int = 0


@dataclass
class Together:
    """Readers, writers and refreshes at once."""

    seconds: float
    errors: list[str] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    """Milliseconds of each."""
    written: int = 0
    refreshes: int = 0
    deadlocks: int = 0
    blocked: int = 0
    """Readers seen waiting for a lock, in looks twenty times a second."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tracks", type=int, default=1_000_000)
    arguments.add_argument(
        "--seconds", type=float, default=120, help="of readers, writers and refreshes at once"
    )
    chosen = arguments.parse_args()
    with local_stack(durable=True) as stack:
        databases = {name: _database(stack.catalog_url, name) for name in ("empty", "small", "large")}
        small = measure(databases["small"], chosen.tracks // 10)
        large = measure(databases["large"], chosen.tracks)
        writes = write_in_turn(databases)
        together = read_write_refresh(databases["large"], chosen.seconds)
        promotion(databases["large"], large)
    page = report(small, large, writes, together)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(page)
    print(page)


def questions() -> dict[str, str]:
    """The SQL of docs/analyse.md, by its heading."""
    return {found["title"]: found["sql"] for found in QUESTION.finditer(DOCUMENT.read_text())}


def measure(engine: Engine, tracks: int) -> Measured:
    measured = Measured(tracks)
    load(engine, tracks)
    for _ in range(2):
        seconds: dict[str, float] = {}
        refresh(engine, lambda view, took, into=seconds: into.update({view: took}))  # type: ignore[misc]
        measured.refreshes.append(seconds)
    with _session(engine) as session:
        session.execute("vacuum analyze")
        measured.bytes = int(session.execute("select pg_database_size(current_database())").fetchone()[0])  # type: ignore[index]
        for title, question in _asked(session).items():
            medians = []
            for variant in _variants(session, question):
                times = []
                for _ in range(REPEATS):
                    started = time.perf_counter()
                    _ask(session, variant)
                    times.append((time.perf_counter() - started) * 1000)
                medians.append(statistics.median(times))
            measured.milliseconds[title] = max(medians)
            measured.indexes[title] = _indexes(session, question)
    return measured


def _variants(session: psycopg.Connection[Any], question: str) -> list[str]:
    """The question itself, or, of a pair of genres, that of many."""
    if not all(genre in question for genre in PAIR):
        return [question]
    pairs = session.execute(
        "select genre_a, genre_b from genre_cooccurrence where genre_a < genre_b and n > 0 order by n desc"
    ).fetchall()
    genres = [row[0] for row in session.execute("select genre from genre order by tracks desc limit 3")]
    variants = []
    for a, b in pairs[:: max(1, len(pairs) // PAIRS)][:PAIRS]:
        third = next(genre for genre in genres if genre not in (a, b))
        variants.append(_about(question, (a, b, third)))
    return variants


def _about(question: str, genres: Sequence[str]) -> str:
    named = dict(zip(PAIR, genres, strict=True))
    return re.sub("|".join(PAIR), lambda found: f"'{named[found[0]]}'", question)


def promotion(engine: Engine, measured: Measured) -> None:
    started = time.perf_counter()
    measured.moved = promote(engine, "generated:2", min_coverage=0).moved
    measured.promotion_seconds = time.perf_counter() - started


def write_in_turn(databases: dict[str, Engine], seconds: float = 60) -> dict[str, Writes]:
    """What one process commits as a worker does: new tracks, in groups, on one connection a catalog.

    Turn by turn, so that whatever else the machine does meets all of them.
    """
    writers = {name: Writer(engine, 77 + at) for at, (name, engine) in enumerate(databases.items())}
    for writer in writers.values():  # connections and prepared statements
        for _ in range(5):
            writer.catalog.write(writer.group())
    writes = {name: Writes() for name in databases}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, writer in writers.items():
            groups = [writer.group() for _ in range(TURN_GROUPS)]
            backend = _backend(databases[name])
            own, theirs = time.process_time(), _cpu_seconds(backend)
            for group in groups:
                started = time.perf_counter()
                writer.catalog.write(group)
                writes[name].groups.append(time.perf_counter() - started)
            writes[name].cpu += time.process_time() - own + _cpu_seconds(backend) - theirs
    return writes


def _backend(engine: Engine) -> int:
    """The process that serves the engine's connection: the pool hands out the one used last."""
    with engine.connect() as connection:
        return int(connection.scalar(text("select pg_backend_pid()")) or 0)


def _cpu_seconds(process: int) -> float:
    """Of a process; in ticks of a hundredth of a second, good enough over many groups."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Writer:
    """Makes groups of results and commits them."""

    def __init__(self, engine: Engine, seed: int) -> None:
        described = manifest("1")
        self.catalog = TrackCatalog(engine, register_model(engine, described, "1" * 64), "cpu", "int8")
        self._rule = LabelRule(described.genres, described.thresholds)
        self._results = self._endless(seed)

    def group(self) -> list[Classified]:
        return [next(self._results) for _ in range(MAX_COMMIT_TRACKS)]

    def _endless(self, seed: int) -> Iterator[Classified]:
        while True:
            (chunk,) = generate(20_000, seed, datetime.now(UTC))
            for track, scores, embedding in zip(chunk.ids, chunk.scores, chunk.embeddings, strict=True):
                name = f"{track.decode()}{seed}"
                job = TrackJob(
                    schema_version=1,
                    track_id=name,
                    audio=ObjectRef(bucket="masters", key=f"audio/{name}.flac"),
                    title="A title of its own",
                    artist="An artist",
                    enqueued_at=datetime.now(UTC),
                )
                result = TrackResult(Prediction(scores, embedding), "used", 200.0, 30.0)
                timings = {"open": 9.8, "fetch": 81.2, "decode": 210.4, "tokenise": 1.1, "infer": 95.7}
                yield Classified(job, np.random.bytes(32), result, self._rule.select_labels(scores), timings)
            seed += 1_000_003


def read_write_refresh(engine: Engine, seconds: float) -> Together:
    together = Together(seconds)
    stop = threading.Event()
    before = _deadlocks(engine)

    def write(seed: int) -> None:
        writer = Writer(engine, seed)
        while not stop.is_set():
            group = writer.group()
            writer.catalog.write(group)
            together.written += len(group)

    def read() -> None:
        with _session(engine, "reader") as session:
            asked = list(_asked(session).values())
            while not stop.is_set():
                for question in asked:
                    started = time.perf_counter()
                    _ask(session, question)
                    together.reads.append((time.perf_counter() - started) * 1000)

    def refresh_again() -> None:
        while not stop.is_set():
            refresh(engine)
            together.refreshes += 1

    def watch() -> None:
        with _session(engine) as session:
            while not stop.is_set():
                found = session.execute(
                    "select count(*) from pg_stat_activity "
                    "where application_name = 'reader' and wait_event_type = 'Lock'"
                ).fetchone()
                together.blocked += int(found[0])  # type: ignore[index]
                time.sleep(0.05)

    def run(job: Any, *values: Any) -> None:
        try:
            job(*values)
        except Exception as error:
            together.errors.append(f"{type(error).__name__}: {error}")

    jobs = [(write, 501), (write, 502), (read,), (read,), (refresh_again,), (watch,)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for job in jobs:
            pool.submit(run, *job)
        time.sleep(seconds)
        stop.set()
    together.deadlocks = _deadlocks(engine) - before
    return together


def _asked(session: psycopg.Connection[Any]) -> dict[str, str]:
    """The questions, on a track and on models that there are."""
    found = session.execute("select track_id from track_vector limit 1").fetchone()
    count = session.execute("select count(*) from track_vector").fetchone()
    lists = int(count[0] ** 0.5)  # type: ignore[index]
    return {
        title: question.replace("some-track", found[0])  # type: ignore[index]
        .replace("demo:", "generated:")
        .replace("probes = 30", f"probes = {probes(lists)}")
        for title, question in questions().items()
    }


def _ask(session: psycopg.Connection[Any], question: str) -> None:
    *settings, query = [part for part in question.split(";") if part.strip()]
    for setting in settings:
        session.execute(setting)
    session.execute(query).fetchall()


def _indexes(session: psycopg.Connection[Any], question: str) -> list[str]:
    query = [part for part in question.split(";") if part.strip()][-1]
    found = session.execute(f"explain (format json) {query}").fetchone()
    return sorted(set(re.findall(r"'Index Name': '([^']+)'", str(found))))


def _session(engine: Engine, name: str = "benchmark") -> psycopg.Connection[Any]:
    """As an analyst's: the views are found without their schema."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    options = "-c search_path=analytics,public"
    return psycopg.connect(url, autocommit=True, application_name=name, options=options)


def _database(url: str, name: str) -> Engine:
    admin = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"create database {name}"))
    admin.dispose()
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg", database=name), pool_size=8)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("create extension vector"))
    return engine


def _deadlocks(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(
            connection.scalar(
                text("select deadlocks from pg_stat_database where datname = current_database()")
            )
            or 0
        )


def report(small: Measured, large: Measured, writes: dict[str, Writes], together: Together) -> str:
    first, again = (sum(seconds.values()) for seconds in large.refreshes)
    slowest = max(large.milliseconds.values())
    reads = sorted(together.reads)
    lines = [
        "# The catalog, measured",
        "",
        f"`python benchmarks/catalog.py --tracks {large.tracks} --seconds {together.seconds:.0f}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}.",
        "PostgreSQL's default memory settings (128 MB of buffers), fsync on.",
        f"Medians of {REPEATS}, fetched to the client; of the question about two genres, the slowest of "
        f"{PAIRS} pairs. Labels are generated (`benchmarks/catalog_data.py`).",
        "",
        f"{large.tracks:,} tracks, two models: {large.bytes / 2**30:.1f} GiB.",
        "",
        f"## Questions of docs/analyse.md: slowest {slowest:.0f} ms, bound {BOUND_MS} ms",
        "",
        f"| question | {small.tracks:,}: ms | {large.tracks:,}: ms | ratio | indexes in the plan |",
        "|---|--:|--:|--:|---|",
    ]
    for title, milliseconds in large.milliseconds.items():
        before = small.milliseconds[title]
        used = ", ".join(large.indexes[title]) or "none: a few rows of a materialised view"
        lines.append(
            f"| {title} | {before:.1f} | {milliseconds:.1f} | {milliseconds / before:.1f} | {used} |"
        )
    lines += [
        "",
        f"## Refresh: {first:.0f} s the first time, {again:.0f} s with little new",
        "",
        f"| view | {small.tracks:,}: s | {large.tracks:,}: s | ratio |",
        "|---|--:|--:|--:|",
    ]
    for view, seconds in large.refreshes[1].items():
        before = small.refreshes[1][view]
        lines.append(f"| {view} | {before:.2f} | {seconds:.2f} | {seconds / before:.1f} |")
    lines += [
        "",
        "The first refresh builds the index of embeddings: "
        f"{large.refreshes[0]['similarity.track_vector']:.0f} s.",
        "",
        "## Writes, one process, one connection, groups of "
        f"{MAX_COMMIT_TRACKS}: bound {WRITE_BOUND:,} tracks/s, full over empty {RATIO_BOUND}",
        "",
        "All tracks by all the time that it took, turn by turn, with whatever else ran; `CPU` by the CPU "
        "time of worker and server.",
        "",
        "| catalog | tracks/s | 99th percentile of a group: ms | slowest: ms | CPU: tracks/s |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {size} | {made.rate:,.0f} | {sorted(made.groups)[int(len(made.groups) * 0.99)] * 1000:.0f} "
            f"| {max(made.groups) * 1000:.0f} | {made.cpu_rate:,.0f} |"
            for size, made in zip(
                ("empty", f"{small.tracks:,} tracks", f"{large.tracks:,} tracks"),
                writes.values(),
                strict=True,
            )
        ),
        "",
        f"Full over empty: {writes['large'].rate / writes['empty'].rate:.2f}, "
        f"{writes['large'].cpu_rate / writes['empty'].cpu_rate:.2f} by CPU time. "
        f"Load of the machine (1 minute) at the end: {os.getloadavg()[0]:.1f}.",
        "",
        f"## Two readers, two writers and refreshes at once, {together.seconds:.0f} s",
        "",
        f"{together.deadlocks} deadlocks, {len(together.errors)} errors, readers seen waiting for a lock "
        f"{together.blocked} times; {len(reads):,} answers, median {statistics.median(reads):.0f} ms, "
        f"99th percentile {reads[int(len(reads) * 0.99)]:.0f} ms, slowest {reads[-1]:.0f} ms; "
        f"{together.written:,} tracks written, {together.refreshes} refreshes.",
        *(f"- {error}" for error in together.errors),
        "",
        f"## Promotion: {large.moved:,} tracks moved in {large.promotion_seconds:.1f} s",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
