"""`cogenre`: what runs in production. Each command is one file's; heavy imports wait for the command."""

import logging
import sys

import typer
from rich.console import Console

from media.errors import MediaError
from schemas.errors import ContractError
from worker.cli import catalog, classify, demo, enqueue, failures, feedback, models, reconcile, service
from worker.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Labels tracks with their genres, from audio and lyrics.",
)
demo.register(app)
service.register(app)
classify.register(app)
enqueue.register(app)
models.register(app)
reconcile.register(app)
app.add_typer(feedback.app, name="feedback")
app.add_typer(failures.app, name="failures")
app.add_typer(catalog.app, name="catalog")


def main() -> None:
    """Entry point. What a person can mend ends in one line on stderr and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (ConfigError, ContractError, MediaError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"cogenre: {error}", markup=False)
        sys.exit(2)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
