"""`cogenre demo` and `cogenre local`"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    app.command()(demo)
    app.command()(local)


def demo(
    audio: Annotated[
        Path | None,
        typer.Option(help="Also label the audio files of this folder; a .txt of the same name = lyrics."),
    ] = None,
) -> None:
    """Label the demo's tracks on a local stack: PostgreSQL, Redis, S3 and a worker. Needs no server."""
    from worker.local.demo import run_demo

    _end_on_sigterm()
    raise typer.Exit(run_demo(Console(highlight=False), audio.expanduser() if audio else None))


def local() -> None:
    """Run the local stack until Ctrl-C. Prints the settings to export."""
    from schemas.catalog.migrate import migrate
    from worker.catalog.connect import connect
    from worker.local.stack import clear_server_settings, local_stack
    from worker.settings import CatalogSettings, bundle_or_demo

    bundle = bundle_or_demo(None)
    clear_server_settings()
    _end_on_sigterm()
    with local_stack() as stack:
        os.environ.update(stack.environment())
        migrate(connect(CatalogSettings.load()))
        for name, value in (stack.environment() | {"COGENRE_BUNDLE": bundle}).items():
            typer.echo(f"export {name}={value}")
        Console(stderr=True).print("running: paste these lines into another terminal; Ctrl-C ends the stack")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


def _end_on_sigterm() -> None:
    """Raise SystemExit on SIGTERM, so that the stack's servers are stopped in order."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
