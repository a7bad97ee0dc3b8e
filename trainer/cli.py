"""`cogenre-train`: from labelled tracks to a checkpoint."""

import sys

import typer

from trainer.errors import TrainerError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Trains a genre model.")


@app.callback()
def _train() -> None:
    """Trains a genre model."""


def main() -> None:
    """The console script. What a person can put right ends in one line and exit code 2."""
    try:
        app()
    except TrainerError as error:
        sys.stderr.write(f"cogenre-train: {error}\n")
        raise SystemExit(2) from None
