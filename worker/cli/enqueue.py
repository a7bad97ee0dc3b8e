"""`cogenre enqueue`"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console

from worker.cli.lyrics import lyrics_in

if TYPE_CHECKING:
    from schemas.jobs import TrackJob


def register(app: typer.Typer) -> None:
    app.command()(enqueue)


def enqueue(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A file of jobs as JSON lines, - for standard input, s3://bucket/prefix for the audio under "
            "it, or redis:LIST for S3 event notifications, read until interrupted."
        ),
    ] = None,
    track_id: Annotated[str | None, typer.Option(help="For a single track: its id.")] = None,
    audio: Annotated[
        str | None, typer.Option(help="For a single track: s3://bucket/key of its audio.")
    ] = None,
    lyrics: Annotated[
        str | None,
        typer.Option(help="For a single track: s3://bucket/key of its lyrics, or a text file here."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="For a single track.")] = None,
    artist: Annotated[str | None, typer.Option(help="For a single track.")] = None,
    force: Annotated[
        bool, typer.Option(help="For a single track: label it even if it was labelled.")
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(help="For S3: the keys of audio; its group (?P<track_id>…) is the track's id."),
    ] = None,
    after: Annotated[str | None, typer.Option(help="For s3://: go on behind this key.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="For a file: go on behind so many jobs.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count and check the jobs; enqueue none.")
    ] = False,
) -> None:
    """Register tracks in the catalog and enqueue them."""
    from redis import RedisError

    from schemas.errors import ConfigError
    from worker.catalog.connect import connect_migrated
    from worker.queue.broker import check_broker
    from worker.queue.celery_app import celery_app
    from worker.queue.enqueue import enqueue
    from worker.settings import BrokerSettings, CatalogSettings

    if (source is None) == (track_id is None):
        raise ConfigError("give either a source of jobs, or --track-id with --audio")
    progress = _Progress()
    if source is not None and source.startswith("redis:"):
        if source == "redis:":
            raise ConfigError("redis: names no list: write redis:LIST")
        _read_events(source.removeprefix("redis:"), pattern, progress)
        return
    if not dry_run:
        broker = BrokerSettings.load()
        engine = connect_migrated(CatalogSettings.load())
        check_broker(broker)
    with _jobs(source, track_id, audio, lyrics, title, artist, force, pattern, after) as found:
        jobs = progress.watch(islice(found, skip, None))
        try:
            if dry_run:
                progress.say(f"{sum(1 for _ in jobs)} jobs, all valid; none was enqueued")
            else:
                enqueue(engine, celery_app(broker), jobs, progress.published)
        except (ConfigError, UnicodeDecodeError, KeyboardInterrupt, RedisError) as error:
            match error:
                case KeyboardInterrupt():
                    why = "interrupted"
                case UnicodeDecodeError():
                    why = "no text in UTF-8: give a file of jobs as JSON lines"
                case RedisError():
                    why = f"the broker does not take them: {error}"
                case _:
                    why = str(error)
            if progress.done:
                resume = f"--after {progress.last_key!r}" if source and source.startswith("s3://") else ""
                why += f"; {progress.done} jobs before it were enqueued, go on with " + (
                    resume or f"--skip {skip + progress.done}"
                )
            raise ConfigError(f"{source or 'job'}: {why}") from None


class _Progress:
    """How far it has come, told on standard error."""

    def __init__(self) -> None:
        self.done = 0
        self.last_key = ""
        self._console = Console(stderr=True, highlight=False)

    def watch(self, jobs: "Iterator[TrackJob]") -> "Iterator[TrackJob]":
        for job in jobs:
            yield job
            self.last_key = job.audio.key

    def published(self, count: int) -> None:
        self.done += count
        self._console.print(f"enqueued {self.done}", end="\r" if self._console.is_terminal else "\n")

    def say(self, text: str) -> None:
        self._console.print(text)


@contextmanager
def _jobs(
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
    from schemas.errors import ConfigError
    from storage.client import s3_client
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
            "audio": _object(audio),
            "lyrics": None if lyrics is None else _lyrics(lyrics),
            "title": title,
            "artist": artist,
            "force": force,
        }
        yield map(job_from_fields, [fields])
    elif source.startswith("s3://"):
        bucket, _, prefix = source.removeprefix("s3://").partition("/")
        key_pattern = compile_pattern(pattern or DEFAULT_PATTERN)
        yield jobs_from_prefix(s3_client(), bucket, prefix, key_pattern, after)
    else:
        with _opened(source) as lines:
            yield jobs_from_lines(lines)


@contextmanager
def _opened(source: str) -> Iterator[TextIO]:
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


def _read_events(events: str, pattern: str | None, progress: _Progress) -> None:
    from storage.client import s3_client
    from worker.catalog.connect import connect_migrated
    from worker.queue.broker import COMMAND_TIMEOUT_SECONDS, check_broker, redis_client
    from worker.queue.celery_app import celery_app
    from worker.queue.job_sources import DEFAULT_PATTERN, compile_pattern
    from worker.queue.s3_events import consume_events
    from worker.settings import BrokerSettings, CatalogSettings

    settings = BrokerSettings.load()
    check_broker(settings)
    consume_events(
        redis_client(settings, COMMAND_TIMEOUT_SECONDS),
        events,
        s3_client(),
        compile_pattern(pattern or DEFAULT_PATTERN),
        connect_migrated(CatalogSettings.load()),
        celery_app(settings),
        progress.published,
    )


def _object(url: str) -> dict[str, str]:
    from schemas.errors import ConfigError

    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise ConfigError(f"{url} is not s3://bucket/key")
    return {"bucket": bucket, "key": key}


def _lyrics(where: str) -> dict[str, str]:
    """A reference to an object, or the text of a file here."""
    return _object(where) if where.startswith("s3://") else {"text": lyrics_in(Path(where))}
