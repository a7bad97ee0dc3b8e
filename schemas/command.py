"""Run a command line. `cogenre`, `cogenre-train` and `cogenre-export` report errors in the same way.

| outcome | standard error | exit code |
|---|---|---|
| success | | 0, or the command's own |
| wrong usage, or a CogenreError | one line | 2 |
| Ctrl-C | | 130 |
| any other error | traceback | 1 |
"""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

from schemas.errors import CogenreError


def run_command(
    app: typer.Typer, name: str, explain: Callable[[Exception], str | None] = lambda _: None
) -> NoReturn:
    """Run `app` as the console script `name`.

    `explain` returns the line to print for an error that is not a CogenreError; None = print the traceback.
    """
    try:
        sys.exit(app(prog_name=name, standalone_mode=False))
    except TyperException as error:
        sys.stderr.write(_usage_message(error, name))
    except CogenreError as error:
        _print_error(name, str(error))
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (reason := explain(error)) is None:
            raise
        _print_error(name, reason)
    sys.exit(2)


def _print_error(name: str, reason: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"{name}: {reason}", markup=False)


def _usage_message(error: Any, name: str) -> str:
    """Return one line; empty if the help was printed instead."""
    command = error.ctx.command_path if error.ctx else name
    return f"{command}: {message} (see `{command} --help`)\n" if (message := error.format_message()) else ""
