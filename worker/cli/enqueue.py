"""`cogenre enqueue`"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console

from worker.cli.lyrics import read_lyrics_file

if TYPE_CHECKING:
    from schemas.jobs import TrackJob


def register(app: typer.Typer) -> None:
    app.command()(enqueue)


def enqueue(
    source: Annotated[
        str | None,
        typer.Argument(
            help="File of jobs as JSON lines, - for standard input, s3://bucket/prefix for its audio, "
            "or redis:LIST for S3 event notifications, read until interrupted."
        ),
    ] = None,
    track_id: Annotated[str | None, typer.Option(help="For a single track: its id.")] = None,
    audio: Annotated[
        str | None, typer.Option(help="For a single track: s3://bucket/key of its audio.")
    ] = None,
    lyrics: Annotated[
        str | None,
        typer.Option(help="For a single track: s3://bucket/key of its lyrics, or a local text file."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="For a single track.")] = None,
    artist: Annotated[str | None, typer.Option(help="For a single track.")] = None,
    force: Annotated[
        bool, typer.Option(help="For a single track: classify it even if it was classified before.")
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(help="For S3: regular expression of audio keys; its group (?P<track_id>…) is the id."),
    ] = None,
    after: Annotated[str | None, typer.Option(help="For s3://: start after this key.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="For a file: skip this many jobs.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate and count the jobs; enqueue none.")
    ] = False,
) -> None:
    """Register tracks in the catalog and enqueue them."""
    from schemas.errors import ConfigError

    if (source is None) == (track_id is None):
        raise ConfigError("give either a source of jobs, or --track-id with --audio")
    progress = _Progress()
    if source is not None and source.startswith("redis:"):
        if source == "redis:":
            raise ConfigError("redis: has no list: write redis:LIST")
        _consume_events(source.removeprefix("redis:"), pattern, progress)
        return
    publish = _count_jobs if dry_run else _make_publisher()
    with _open_jobs(source, track_id, audio, lyrics, title, artist, force, pattern, after) as jobs:
        try:
            publish(progress.track(islice(jobs, skip, None)), progress)
        except (ConfigError, UnicodeDecodeError, KeyboardInterrupt) as error:
            match error:
                case KeyboardInterrupt():
                    reason = "interrupted"
                case UnicodeDecodeError():
                    reason = "not text in UTF-8: give a file of jobs as JSON lines"
                case _:
                    reason = str(error)
            if progress.done:
                resume = f"--after {progress.last_key!r}" if source and source.startswith("s3://") else ""
                reason += f"; {progress.done} jobs before it were enqueued, continue with " + (
                    resume or f"--skip {skip + progress.done}"
                )
            raise ConfigError(f"{source or 'job'}: {reason}") from None


def _count_jobs(jobs: "Iterator[TrackJob]", progress: "_Progress") -> None:
    progress.print(f"{sum(1 for _ in jobs)} jobs, all valid; none was enqueued")


def _make_publisher() -> "Callable[[Iterator[TrackJob], _Progress], None]":
    """Return a function that registers and enqueues jobs. Raises ConfigError if a server does not answer."""
    from redis import RedisError

    from schemas.errors import ConfigError
    from worker.catalog.connect import open_catalog
    from worker.queue.broker import check_broker
    from worker.queue.celery_app import celery_app
    from worker.queue.enqueue import enqueue
    from worker.settings import BrokerSettings

    broker = BrokerSettings.load()
    engine = open_catalog()
    check_broker(broker)

    def publish(jobs: "Iterator[TrackJob]", progress: "_Progress") -> None:
        try:
            enqueue(engine, celery_app(broker), jobs, progress.published)
        except RedisError as error:
            raise ConfigError(f"the broker refuses the jobs: {error}") from None

    return publish


class _Progress:
    """Progress of a run, printed on standard error."""

    def __init__(self) -> None:
        self.done = 0
        self.last_key = ""
        self._console = Console(stderr=True, highlight=False)

    def track(self, jobs: "Iterator[TrackJob]") -> "Iterator[TrackJob]":
        for job in jobs:
            yield job
            self.last_key = job.audio.key

    def published(self, count: int) -> None:
        self.done += count
        self._console.print(f"enqueued {self.done}", end="\r" if self._console.is_terminal else "\n")

    def print(self, text: str) -> None:
        self._console.print(text)


@contextmanager
def _open_jobs(
    source: str | None,
    track_id: str | None,
    audio: str | None,
    lyrics: str | None,
    title: str | None,
    artist: str | None,
    force: bool,
    pattern: str | None,
    after: str | None,
) -> "Iterator[Iterator[TrackJob]]":
    """Yield the jobs that the arguments of the command describe. Raises ConfigError."""
    from schemas.errors import ConfigError
    from worker.queue.job_sources import (
        DEFAULT_PATTERN,
        compile_pattern,
        job_from_fields,
        jobs_from_lines,
        jobs_from_prefix,
    )

    if source is None:
        if audio is None:
            raise ConfigError("--track-id needs --audio s3://bucket/key")
        fields = {
            "track_id": track_id,
            "audio": _parse_s3_url(audio),
            "lyrics": None if lyrics is None else _lyrics_field(lyrics),
            "title": title,
            "artist": artist,
            "force": force,
        }
        yield map(job_from_fields, [fields])
    elif source.startswith("s3://"):
        bucket, _, prefix = source.removeprefix("s3://").partition("/")
        from storage.client import s3_client

        key_pattern = compile_pattern(pattern or DEFAULT_PATTERN)
        yield jobs_from_prefix(s3_client(), bucket, prefix, key_pattern, after)
    else:
        with _open_lines(source) as lines:
            yield jobs_from_lines(lines)


@contextmanager
def _open_lines(source: str) -> Iterator[TextIO]:
    """Yield a text file, or standard input for `-`. Raises ConfigError."""
    from schemas.errors import ConfigError

    if source == "-":
        yield sys.stdin
        return
    try:
        file = Path(source).open(encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}") from None
    with file:
        yield file


def _consume_events(events: str, pattern: str | None, progress: _Progress) -> None:
    from storage.client import s3_client
    from worker.catalog.connect import open_catalog
    from worker.queue.broker import COMMAND_TIMEOUT_SECONDS, check_broker, redis_client
    from worker.queue.celery_app import celery_app
    from worker.queue.job_sources import DEFAULT_PATTERN, compile_pattern
    from worker.queue.s3_events import consume_events
    from worker.settings import BrokerSettings

    settings = BrokerSettings.load()
    check_broker(settings)
    consume_events(
        redis_client(settings, COMMAND_TIMEOUT_SECONDS),
        events,
        s3_client(),
        compile_pattern(pattern or DEFAULT_PATTERN),
        open_catalog(),
        celery_app(settings),
        progress.published,
    )


def _parse_s3_url(url: str) -> dict[str, str]:
    from schemas.errors import ConfigError

    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise ConfigError(f"{url} is not the URL of an object: write s3://bucket/key")
    return {"bucket": bucket, "key": key}


def _lyrics_field(where: str) -> dict[str, str]:
    """Return a reference to an S3 object, or the text of a local file."""
    return _parse_s3_url(where) if where.startswith("s3://") else {"text": read_lyrics_file(Path(where))}
