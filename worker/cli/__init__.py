"""`cogenre`: the commands of the service.

A command imports what it needs when it runs, so that commands that only query start fast.
"""

import logging
from importlib.metadata import version
from typing import Annotated

import typer

from schemas.command import run_command
from worker.cli import (
    catalog,
    classify,
    demo,
    engine,
    enqueue,
    failures,
    feedback,
    models,
    reconcile,
    service,
)

DENIED_CODES = ("42501", "25006")
"""PostgreSQL's error codes insufficient_privilege and read_only_sql_transaction."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Label tracks with genres, from audio and lyrics. Settings are COGENRE_… environment variables; "
    "`cogenre local` prints a set to try.",
)


def _print_version(is_set: bool) -> None:
    if is_set:
        typer.echo(f"cogenre {version('cogenre')}")
        raise typer.Exit


@app.callback()
def _cogenre(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the release."),
    ] = False,
) -> None:
    pass


demo.register(app)
service.register(app)
classify.register(app)
enqueue.register(app)
engine.register(app)
models.register(app)
reconcile.register(app)
app.add_typer(feedback.app, name="feedback")
app.add_typer(failures.app, name="failures")
app.add_typer(catalog.app, name="catalog")


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    run_command(app, "cogenre", _explain)


def _explain(error: Exception) -> str | None:
    """Return the reason for an error of PostgreSQL or Redis that a person can fix; None for others.

    The drivers are not imported here, because an error of a driver is raised only by a command that imported
    it.
    """
    cause = getattr(error, "orig", None)
    if getattr(cause, "sqlstate", None) in DENIED_CODES:
        return (
            f"this login of the catalog may not do that: {str(cause).splitlines()[0]} "
            "(workers and operators use a writer's login: `cogenre catalog grant`)"
        )
    if any(kind.__name__ == "RedisError" for kind in type(error).__mro__):
        return f"the broker does not answer, or refuses the command: {error} (run the command again later)"
    return None
