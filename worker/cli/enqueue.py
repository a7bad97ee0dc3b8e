"""`cogenre enqueue`"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    app.command()(enqueue)


def enqueue(
    source: Annotated[
        str | None, typer.Argument(help="File of jobs, JSON lines (docs/enqueue.md); - = standard input.")
    ] = None,
    track_id: Annotated[str | None, typer.Option(help="For a single track: its id.")] = None,
    audio: Annotated[
        str | None, typer.Option(help="For a single track: s3://bucket/key of its audio.")
    ] = None,
    lyrics: Annotated[
        str | None,
        typer.Option(help="For a single track: s3://bucket/key of its lyrics, or a text file here."),
    ] = None,
    title: Annotated[str | None, typer.Option()] = None,
    artist: Annotated[str | None, typer.Option()] = None,
    force: Annotated[
        bool, typer.Option(help="For a single track: label it even if it was labelled.")
    ] = False,
) -> None:
    """Register tracks in the catalog and enqueue them: one, or a file of them."""
    from worker.broker import celery_app
    from worker.catalog.connect import connect_migrated
    from worker.consume import check_broker
    from worker.enqueue import enqueue, read_jobs
    from worker.errors import ConfigError
    from worker.settings import BrokerSettings, CatalogSettings

    if (source is None) == (track_id is None):
        raise ConfigError("give either a file of jobs (or -), or --track-id with --audio")
    broker = BrokerSettings.load()
    engine = connect_migrated(CatalogSettings.load())
    check_broker(broker)
    app = celery_app(broker)
    console = Console(stderr=True, highlight=False)
    done = 0

    def published(count: int) -> None:
        nonlocal done
        done += count
        console.print(f"enqueued {done}", end="\r" if console.is_terminal else "\n")

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
        enqueue(engine, app, read_jobs([json.dumps(fields)]), published)
        return
    try:
        opened = nullcontext(sys.stdin) if source == "-" else Path(source).open()  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}") from None
    with opened as lines:
        try:
            enqueue(engine, app, read_jobs(lines), published)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}; {done} jobs before it were enqueued") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{source} is not UTF-8 text; {done} jobs were enqueued") from None


def _object(url: str) -> dict[str, str]:
    from worker.errors import ConfigError

    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise ConfigError(f"{url} is not s3://bucket/key")
    return {"bucket": bucket, "key": key}


def _lyrics(where: str) -> dict[str, str]:
    """A reference to an object, or the text of a file here."""
    from media.lyrics import read_lyrics
    from worker.errors import ConfigError

    if where.startswith("s3://"):
        return _object(where)
    try:
        return {"text": read_lyrics(Path(where).read_bytes())}
    except OSError as error:
        raise ConfigError(f"cannot read {where}: {error.strerror}") from None
