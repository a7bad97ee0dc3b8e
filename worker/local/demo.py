"""The demo: a worker on the local stack labels the tracks of `deploy/demo` with the bundle there."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import Engine, text

from media.errors import MediaError
from media.sniff import HEAD_BYTES, SUPPORTED_FORMATS, detect_demuxer
from schemas.catalog.migrate import migrate
from schemas.errors import ConfigError
from schemas.jobs import ObjectRef, TrackJob
from storage.client import s3_client
from worker.catalog.connect import connect
from worker.catalog.queries import fetch_correlations
from worker.catalog.refresh import refresh
from worker.local.stack import BUCKET, clear_server_settings, local_stack
from worker.parent_death import bind_to_this_process
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.settings import DEMO_DATA, BrokerSettings, CatalogSettings

REAL_MUSIC_NOTE = (
    "The model of the demo was trained on synthetic music only: do not rely on its labels for your own files."
)

RESULTS = text("""
    select t.id, f.reason, l.genres
    from unnest(cast(:ids as text[])) with ordinality as t (id, position)
    left join lateral (
        select array_agg(genre || ' ' || to_char(score, 'FM0.00') order by score desc) as genres
        from analytics.track_label where track_id = t.id
    ) l on true
    left join analytics.failure f on f.track_id = t.id
    order by t.position
""")

COUNT_FINISHED = text("""
    select (select count(*) from track_current where track_id = any(:ids)),
           (select count(*) from analytics.failure where track_id = any(:ids))
""")


@dataclass(frozen=True)
class DemoTrack:
    """A track of `deploy/demo`, or an audio file of the user."""

    track_id: str
    audio: Path
    lyrics: Path | None
    title: str | None
    artist: str | None
    genres: tuple[str, ...] | None
    """The true genres. None if unknown."""

    def key(self, file: Path) -> str:
        """Return the S3 key of this track's audio or lyrics file."""
        return f"demo/{self.track_id}{file.suffix}"


def run_demo(console: Console, audio: Path | None) -> int:
    """Label the demo's tracks and the audio files in the folder `audio`. Return the exit code.

    0 if every track was labelled, else 1. Raises ConfigError if the demo's data or `audio` cannot be used.
    """
    user_tracks = find_user_tracks(console, audio) if audio else []
    tracks = load_demo_tracks() + user_tracks
    ids = [track.track_id for track in tracks]
    clear_server_settings()
    console.print("starting PostgreSQL, Redis and an S3 server")
    with local_stack() as stack:
        os.environ.update(stack.environment() | {"COGENRE_BUNDLE": str(DEMO_DATA / "bundle")})
        engine = connect(CatalogSettings.load())
        migrate(engine)
        console.print(f"catalog migrated; uploading {len(tracks)} tracks with their lyrics")
        jobs = [upload_track(track) for track in tracks]
        with running_worker(console) as worker:
            started = time.monotonic()
            enqueue(engine, celery_app(BrokerSettings.load()), jobs)
            wait_until_finished(console, engine, worker, ids)
            seconds = time.monotonic() - started
        catalogued = _print_results(console, engine, tracks)
    if user_tracks:
        console.print(REAL_MUSIC_NOTE, soft_wrap=True)
    console.print(f"catalogued {catalogued} of {len(tracks)} tracks in {seconds:.1f} s")
    return 0 if catalogued == len(tracks) else 1


def load_demo_tracks() -> list[DemoTrack]:
    """Return the tracks of `deploy/demo`. Raises ConfigError outside a clone, where they are missing."""
    listing = DEMO_DATA / "tracks.jsonl"
    try:
        rows = [json.loads(line) for line in listing.read_text().splitlines()]
    except OSError:
        raise ConfigError(
            "the demo's data is not installed: run the demo from a clone of the repository, with `make demo`"
        ) from None
    return [
        DemoTrack(
            row["track_id"],
            DEMO_DATA / row["audio"],
            DEMO_DATA / row["lyrics"] if row["lyrics"] else None,
            row.get("title"),
            row.get("artist"),
            tuple(row["genres"]),
        )
        for row in rows
    ]


def find_user_tracks(console: Console, folder: Path) -> list[DemoTrack]:
    """Return the audio files below a folder, recognised by their content.

    The lyrics of `NAME.mp3` are read from `NAME.txt` in the same folder. Prints the names of files that are
    skipped. Raises ConfigError if there is no audio file.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: give a folder of audio files")
    tracks: list[DemoTrack] = []
    skipped = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as content:
            try:
                detect_demuxer(content.read(HEAD_BYTES))
            except MediaError:
                if file.suffix != ".txt":
                    skipped.append(file.name)
                continue
        lyrics = file.with_suffix(".txt")
        # The track's id is a number, because a file name may be too long for an id, or not valid text.
        title = os.fsencode(file.stem).decode(errors="replace")
        tracks.append(
            DemoTrack(
                f"own-{len(tracks) + 1:05}", file, lyrics if lyrics.is_file() else None, title, None, None
            )
        )
    if not tracks:
        raise ConfigError(f"{folder} has no {SUPPORTED_FORMATS} file")
    if skipped:
        names = ascii(skipped[:5])[1:-1] + (", …" if len(skipped) > 5 else "")
        console.print(f"skipped, not audio of a known format: {names}", soft_wrap=True)
    return tracks


def upload_track(track: DemoTrack) -> TrackJob:
    """Upload the track's files to `BUCKET`. Return its job."""
    s3 = s3_client()
    s3.upload_file(str(track.audio), BUCKET, track.key(track.audio))
    if track.lyrics:
        s3.upload_file(str(track.lyrics), BUCKET, track.key(track.lyrics))
    return TrackJob(
        schema_version=1,
        track_id=track.track_id,
        audio=ObjectRef(bucket=BUCKET, key=track.key(track.audio)),
        lyrics=ObjectRef(bucket=BUCKET, key=track.key(track.lyrics)) if track.lyrics else None,
        title=track.title,
        artist=track.artist,
        enqueued_at=datetime.now(UTC),
    )


@contextmanager
def running_worker(console: Console) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker process, as in production. Print the end of its log if it fails.

    At the end of the context it is stopped by SIGTERM, and killed if it has not ended after 30 s.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            bind_to_this_process([sys.executable, "-m", "worker.cli", "worker"]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            if code:
                log.seek(0)
                console.print(
                    f"the worker ended with exit code {code}; end of its log:",
                    log.read()[-4000:],
                    markup=False,
                )


def wait_until_finished(
    console: Console, engine: Engine, worker: subprocess.Popen[bytes], ids: list[str]
) -> None:
    """Wait until the tracks `ids` are labelled or have failed.

    Shows progress. Raises ConfigError if the worker process ends first.
    """
    columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, engine.connect() as connection:
        task = progress.add_task("labelling", total=len(ids))
        while True:
            catalogued, failed = connection.execute(COUNT_FINISHED, {"ids": ids}).one()
            connection.rollback()
            progress.update(task, completed=catalogued + failed)
            if catalogued + failed >= len(ids):
                return
            if worker.poll() is not None:
                raise ConfigError("the worker ended before it had finished its jobs: see its log above")
            time.sleep(0.1)


def _print_results(console: Console, engine: Engine, tracks: list[DemoTrack]) -> int:
    """Print each track's labels and the most frequent genre pairs. Return how many tracks are labelled."""
    with engine.connect() as connection:
        rows = connection.execute(RESULTS, {"ids": [track.track_id for track in tracks]}).all()
    table = Table("track", "genres with scores", "true genres")
    for track, row in zip(tracks, rows, strict=True):
        labels = (
            f"failed: {row.reason}" if row.reason else ", ".join(row.genres or ["none above its threshold"])
        )
        table.add_row(
            track.track_id if track.genres else track.title,
            labels,
            "unknown" if track.genres is None else ", ".join(track.genres),
        )
    console.print(table)
    pairs = Table("genres that co-occur most", "tracks")
    refresh(engine)
    for pair in fetch_correlations(engine, None, limit=8):
        pairs.add_row(f"{pair['genre_a']} + {pair['genre_b']}", str(pair["tracks"]))
    console.print(pairs)
    return sum(row.reason is None for row in rows)
