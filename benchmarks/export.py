"""A bundle of the `paper` preset with random weights, to measure with.

.venv/bin/python benchmarks/export.py bundle OUT
"""

import tempfile
from pathlib import Path

import typer
from paper_checkpoint import write_paper_checkpoint

from exporter.bundle import Int8, write_bundle
from trainer.checkpoint import load_checkpoint

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def _measure() -> None:
    """The exporter, measured."""


@app.command()
def bundle(out: Path) -> None:
    """Write the bundle, fp32 and int8, about 0.7 GB. Takes minutes: graphs are compared with the network."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        write_paper_checkpoint(checkpoint)
        # Random weights decide by chance: rounding them changes more labels than it may.
        write_bundle(load_checkpoint(checkpoint), out, "paper-random", "0.0.1", Int8(allow_loss=True))
    print(f"{out} written")


if __name__ == "__main__":
    app()
