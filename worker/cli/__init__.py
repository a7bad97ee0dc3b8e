"""`cogenre`: what runs in production. Each command is one file's; heavy imports wait for the command."""

import logging
import sys
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

from media.errors import MediaError
from schemas.errors import ConfigError, ContractError
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

DENIED = ("42501", "25006")
"""PostgreSQL's insufficient_privilege and read_only_sql_transaction."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Labels tracks with their genres, from audio and lyrics. Its settings are COGENRE_… variables: "
    "`cogenre local` prints some to try.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cogenre {version('cogenre')}")
        raise typer.Exit


@app.callback()
def _cogenre(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="The release.")
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


def _wrong_usage(error: Any) -> str:
    """One line, or nothing where the help was printed instead."""
    path = error.ctx.command_path if error.ctx else "cogenre"
    return f"{path}: {said} (see `{path} --help`)\n" if (said := error.format_message()) else ""


def main() -> None:
    """Entry point. What a person can mend ends in one line on stderr and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        sys.exit(app(prog_name="cogenre", standalone_mode=False))
    except TyperException as error:
        sys.stderr.write(_wrong_usage(error))
        sys.exit(2)
    except (ConfigError, ContractError, MediaError) as error:
        _end(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (reason := _denied(error)) is not None:
            _end(
                f"this login of the catalog may not do that: {reason} "
                "(workers and operators use a writer's: `cogenre catalog grant`)"
            )
        if _is_of_redis(error):
            _end(f"the broker does not take that: {error} (run it again when it does)")
        raise


def _end(problem: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"cogenre: {problem}", markup=False)
    sys.exit(2)


def _denied(error: Exception) -> str | None:
    """What the catalog refused the login; None where it did not. Asked without importing its driver."""
    cause = getattr(error, "orig", None)
    return str(cause).splitlines()[0] if getattr(cause, "sqlstate", None) in DENIED else None


def _is_of_redis(error: Exception) -> bool:
    """Asked without importing its driver."""
    return any(kind.__name__ == "RedisError" for kind in type(error).__mro__)
