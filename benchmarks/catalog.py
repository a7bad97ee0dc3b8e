"""Measures how fast an empty and a full catalog answer queries and store labels.

    python benchmarks/catalog.py [--tracks 1000000] [--seconds 120]

The local stack runs with durable commits. Measured are each query of docs/analyse.md, with the indexes in its
plan; the refresh of the views; the commits of a worker into an empty, a small and a large catalog in turns;
readers, writers and refreshes at once; and a promotion. Writes `benchmarks/results/catalog.md`.
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
from worker.catalog.similarity import count_probes
from worker.catalog.tracks import Classified, TrackCatalog
from worker.local.stack import local_stack
from worker.models.serving import MAX_COMMIT_TRACKS
from worker.results import Prediction, TrackResult

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "analyse.md"
RESULTS = Path(__file__).with_name("results") / "catalog.md"
QUERY = re.compile(
    r"^## (?P<title>[^\n]+)\n(?P<prose>(?:(?!^## ).)*?)```sql\n(?P<sql>.*?)```", re.DOTALL | re.MULTILINE
)

REPEATS = 7
"""Executions of each query, of which the median is reported."""
MAX_QUERY_MS = 300
MIN_WRITE_RATE = 3000
"""Tracks per second."""
MIN_WRITE_RATIO = 0.7
"""Write rate of the full catalog, relative to the empty one."""


PAIR = ("'electronic'", "'ambient'", "'techno'")
"""Genres in the query for two genres but not a third. They are replaced by `PAIRS` pairs, common to rare."""
PAIRS = 10
TURN_GROUPS = 40
"""Groups of tracks that are committed to a catalog before the next catalog's turn."""


@dataclass
class Writes:
    """Durations of the commits into one catalog."""

    groups: list[float] = field(default_factory=list)
    """Seconds of each group of `MAX_COMMIT_TRACKS` tracks, with all waits."""
    cpu: float = 0
    """CPU-seconds of client and server together."""

    @property
    def rate(self) -> float:
        """Tracks per second: all tracks, divided by the total time."""
        return len(self.groups) * MAX_COMMIT_TRACKS / sum(self.groups)

    @property
    def cpu_rate(self) -> float:
        """Tracks per CPU-second of client and server: with a core for each, the rate is at least this."""
        return len(self.groups) * MAX_COMMIT_TRACKS / self.cpu


@dataclass
class CatalogFigures:
    """Measurements of a catalog of one size."""

    tracks: int
    bytes: int = 0
    milliseconds: dict[str, float] = field(default_factory=dict)
    """Median duration of each query, by its heading in docs/analyse.md."""
    indexes: dict[str, list[str]] = field(default_factory=dict)
    """Indexes in the plan of each query."""
    refreshes: list[dict[str, float]] = field(default_factory=list)
    """Seconds of each view, in the first refresh and in the second."""
    promotion_seconds: float = 0
    moved: int = 0
    """Tracks whose labels the promotion replaced."""


@dataclass
class MixedLoad:
    """Measurements of readers, writers and refreshes at once."""

    seconds: float
    errors: list[str] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    """Milliseconds of each query."""
    written: int = 0
    refreshes: int = 0
    deadlocks: int = 0
    blocked: int = 0
    """Readers that waited for a lock, summed over samples taken 20 times a second."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tracks", type=int, default=1_000_000)
    arguments.add_argument(
        "--seconds", type=float, default=120, help="of readers, writers and refreshes at once"
    )
    chosen = arguments.parse_args()
    with local_stack(durable=True) as stack:
        databases = {name: _database(stack.catalog_url, name) for name in ("empty", "small", "large")}
        small = measure_queries(databases["small"], chosen.tracks // 10)
        large = measure_queries(databases["large"], chosen.tracks)
        writes = measure_writes(databases)
        mixed = measure_mixed_load(databases["large"], chosen.seconds)
        measure_promotion(databases["large"], large)
    page = report(small, large, writes, mixed)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(page)
    print(page)


def read_queries() -> dict[str, str]:
    """Return the queries of docs/analyse.md by heading."""
    return {match["title"]: match["sql"] for match in QUERY.finditer(DOCUMENT.read_text())}


def measure_queries(engine: Engine, tracks: int) -> CatalogFigures:
    measured = CatalogFigures(tracks)
    load(engine, tracks)
    for _ in range(2):
        seconds: dict[str, float] = {}
        refresh(engine, lambda view, took, into=seconds: into.update({view: took}))  # type: ignore[misc]
        measured.refreshes.append(seconds)
    with _session(engine) as session:
        session.execute("vacuum analyze")
        measured.bytes = int(session.execute("select pg_database_size(current_database())").fetchone()[0])  # type: ignore[index]
        for title, query in _filled_in_queries(session).items():
            medians = []
            for variant in _variants(session, query):
                times = []
                for _ in range(REPEATS):
                    started = time.perf_counter()
                    _run_query(session, variant)
                    times.append((time.perf_counter() - started) * 1000)
                medians.append(statistics.median(times))
            measured.milliseconds[title] = max(medians)
            measured.indexes[title] = _indexes(session, query)
    return measured


def _variants(session: psycopg.Connection[Any], query: str) -> list[str]:
    """Return the query or, if it names the genres `PAIR`, one query for each of `PAIRS` pairs of genres."""
    if not all(genre in query for genre in PAIR):
        return [query]
    pairs = session.execute(
        "select genre_a, genre_b from genre_cooccurrence where genre_a < genre_b and n > 0 order by n desc"
    ).fetchall()
    genres = [row[0] for row in session.execute("select genre from genre order by tracks desc limit 3")]
    variants = []
    for a, b in pairs[:: max(1, len(pairs) // PAIRS)][:PAIRS]:
        third = next(genre for genre in genres if genre not in (a, b))
        variants.append(_with_genres(query, (a, b, third)))
    return variants


def _with_genres(query: str, genres: Sequence[str]) -> str:
    replacements = dict(zip(PAIR, genres, strict=True))
    return re.sub("|".join(PAIR), lambda match: f"'{replacements[match[0]]}'", query)


def measure_promotion(engine: Engine, measured: CatalogFigures) -> None:
    started = time.perf_counter()
    measured.moved = promote(engine, "generated:2", min_coverage=0).moved
    measured.promotion_seconds = time.perf_counter() - started


def measure_writes(databases: dict[str, Engine], seconds: float = 60) -> dict[str, Writes]:
    """Return the durations of commits of new tracks, in groups, by one process with a connection per catalog.

    The catalogs take turns, so that other load of the machine affects all of them alike.
    """
    writers = {name: Writer(engine, 77 + at) for at, (name, engine) in enumerate(databases.items())}
    for writer in writers.values():  # warm up: open the connections, prepare the statements
        for _ in range(5):
            writer.catalog.write(writer.group())
    writes = {name: Writes() for name in databases}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, writer in writers.items():
            groups = [writer.group() for _ in range(TURN_GROUPS)]
            backend = _backend(databases[name])
            client_cpu, server_cpu = time.process_time(), _cpu_seconds(backend)
            for group in groups:
                started = time.perf_counter()
                writer.catalog.write(group)
                writes[name].groups.append(time.perf_counter() - started)
            writes[name].cpu += time.process_time() - client_cpu + _cpu_seconds(backend) - server_cpu
    return writes


def _backend(engine: Engine) -> int:
    """Return the id of the server process of the engine's connection. The pool reuses the last connection."""
    with engine.connect() as connection:
        return int(connection.scalar(text("select pg_backend_pid()")) or 0)


def _cpu_seconds(process: int) -> float:
    """Return the CPU-seconds of a process, with a resolution of 10 ms, which is enough for many groups."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Writer:
    """Generates groups of results, and has the catalog to commit them to."""

    def __init__(self, engine: Engine, seed: int) -> None:
        description = manifest("1")
        self.catalog = TrackCatalog(engine, register_model(engine, description, "1" * 64), "cpu", "int8")
        self._rule = LabelRule(description.genres, description.thresholds)
        self._results = self._generate_results(seed)

    def group(self) -> list[Classified]:
        """Return the next group of results."""
        return [next(self._results) for _ in range(MAX_COMMIT_TRACKS)]

    def _generate_results(self, seed: int) -> Iterator[Classified]:
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


def measure_mixed_load(engine: Engine, seconds: float) -> MixedLoad:
    mixed = MixedLoad(seconds)
    stop = threading.Event()
    before = _deadlocks(engine)

    def write(seed: int) -> None:
        writer = Writer(engine, seed)
        while not stop.is_set():
            group = writer.group()
            writer.catalog.write(group)
            mixed.written += len(group)

    def read() -> None:
        with _session(engine, "reader") as session:
            filled_in = list(_filled_in_queries(session).values())
            while not stop.is_set():
                for query in filled_in:
                    started = time.perf_counter()
                    _run_query(session, query)
                    mixed.reads.append((time.perf_counter() - started) * 1000)

    def refresh_again() -> None:
        while not stop.is_set():
            refresh(engine)
            mixed.refreshes += 1

    def watch() -> None:
        with _session(engine) as session:
            while not stop.is_set():
                row = session.execute(
                    "select count(*) from pg_stat_activity "
                    "where application_name = 'reader' and wait_event_type = 'Lock'"
                ).fetchone()
                mixed.blocked += int(row[0])  # type: ignore[index]
                time.sleep(0.05)

    def run(job: Any, *values: Any) -> None:
        try:
            job(*values)
        except Exception as error:
            mixed.errors.append(f"{type(error).__name__}: {error}")

    jobs = [(write, 501), (write, 502), (read,), (read,), (refresh_again,), (watch,)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for job in jobs:
            pool.submit(run, *job)
        time.sleep(seconds)
        stop.set()
    mixed.deadlocks = _deadlocks(engine) - before
    return mixed


def _filled_in_queries(session: psycopg.Connection[Any]) -> dict[str, str]:
    """Return the queries, with the names of a track and of models that are in the catalog."""
    track = session.execute("select track_id from track_vector limit 1").fetchone()
    count = session.execute("select count(*) from track_vector").fetchone()
    lists = int(count[0] ** 0.5)  # type: ignore[index]
    return {
        title: query.replace("some-track", track[0])  # type: ignore[index]
        .replace("demo:", "generated:")
        .replace("probes = 30", f"probes = {count_probes(lists)}")
        for title, query in read_queries().items()
    }


def _run_query(session: psycopg.Connection[Any], sql: str) -> None:
    """Run the settings and the query of a code block, and fetch all rows."""
    *settings, query = [part for part in sql.split(";") if part.strip()]
    for setting in settings:
        session.execute(setting)
    session.execute(query).fetchall()


def _indexes(session: psycopg.Connection[Any], sql: str) -> list[str]:
    """Return the names of the indexes in the plan of a query."""
    query = [part for part in sql.split(";") if part.strip()][-1]
    plan = session.execute(f"explain (format json) {query}").fetchone()
    return sorted(set(re.findall(r"'Index Name': '([^']+)'", str(plan))))


def _session(engine: Engine, name: str = "benchmark") -> psycopg.Connection[Any]:
    """Return a session as an analyst's: the search path contains the views' schema."""
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


def report(small: CatalogFigures, large: CatalogFigures, writes: dict[str, Writes], mixed: MixedLoad) -> str:
    first, again = (sum(seconds.values()) for seconds in large.refreshes)
    slowest = max(large.milliseconds.values())
    reads = sorted(mixed.reads)
    lines = [
        "# The catalog, measured",
        "",
        f"`python benchmarks/catalog.py --tracks {large.tracks} --seconds {mixed.seconds:.0f}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}.",
        "PostgreSQL's default memory settings (128 MB of buffers), fsync on.",
        f"Medians of {REPEATS} executions, with all rows fetched; for the query for two genres, the slowest "
        f"of {PAIRS} pairs of genres. Labels are generated (`benchmarks/catalog_data.py`).",
        "",
        f"{large.tracks:,} tracks, two models: {large.bytes / 2**30:.1f} GiB.",
        "",
        f"## Queries of docs/analyse.md: slowest {slowest:.0f} ms, bound {MAX_QUERY_MS} ms",
        "",
        f"| query | {small.tracks:,}: ms | {large.tracks:,}: ms | ratio | indexes in the plan |",
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
        f"## Refresh: {first:.0f} s the first time, {again:.0f} s with few new tracks",
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
        "## Writes by one process with one connection, in groups of "
        f"{MAX_COMMIT_TRACKS}: bound {MIN_WRITE_RATE:,} tracks/s, full / empty {MIN_WRITE_RATIO}",
        "",
        "Tracks divided by the total time; the catalogs take turns. `CPU`: tracks divided by the CPU time of "
        "worker and server.",
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
        f"Full / empty: {writes['large'].rate / writes['empty'].rate:.2f}, "
        f"{writes['large'].cpu_rate / writes['empty'].cpu_rate:.2f} by CPU time. "
        f"Load of the machine (1 minute) at the end: {os.getloadavg()[0]:.1f}.",
        "",
        f"## Two readers, two writers and refreshes at once, {mixed.seconds:.0f} s",
        "",
        f"{mixed.deadlocks} deadlocks, {len(mixed.errors)} errors, readers waited for a lock in "
        f"{mixed.blocked} samples; {len(reads):,} queries, median {statistics.median(reads):.0f} ms, "
        f"99th percentile {reads[int(len(reads) * 0.99)]:.0f} ms, slowest {reads[-1]:.0f} ms; "
        f"{mixed.written:,} tracks written, {mixed.refreshes} refreshes.",
        *(f"- {error}" for error in mixed.errors),
        "",
        f"## Promotion: {large.moved:,} tracks moved in {large.promotion_seconds:.1f} s",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
