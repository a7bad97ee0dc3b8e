"""How a command ends: what a person can put right in one line on stderr and exit code 2."""

import sys
from typing import Any, NoReturn

import typer
from typer.exceptions import TyperException


def run(app: typer.Typer, name: str, *refusals: type[Exception]) -> NoReturn:
    """Run the command line as the console script `name`; `refusals` are what a person can put right."""
    try:
        sys.exit(app(prog_name=name, standalone_mode=False))
    except TyperException as error:
        sys.stderr.write(_wrong_usage(error, name))
    except refusals as error:
        sys.stderr.write(f"{name}: {error}\n")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(2)


def _wrong_usage(error: Any, name: str) -> str:
    """One line, or nothing where the help was printed instead."""
    path = error.ctx.command_path if error.ctx else name
    return f"{path}: {said} (see `{path} --help`)\n" if (said := error.format_message()) else ""
