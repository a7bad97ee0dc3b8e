"""`cogenre feedback …`"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, help="Feedback of people on labels.")


@app.command()
def add(
    track: Annotated[str, typer.Argument(help="Id of the track.")],
    genre: Annotated[str, typer.Argument(help="Slug of the genre, such as hip-hop.")],
    rating: Annotated[Literal["right", "wrong"], typer.Argument(help="Whether the track has the genre.")],
    by: Annotated[
        str,
        typer.Option(
            help="Who gives the feedback. It replaces earlier feedback of this person on the label."
        ),
    ],
) -> None:
    """Record whether a genre is right or wrong for a track."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.feedback import add_feedback

    add_feedback(open_catalog(), track, genre, rating == "right", by)
    Console(highlight=False).print(f"{genre} on {track} is {rating}, according to {by}", markup=False)


@app.command()
def export(
    manifest: Annotated[Path, typer.Argument(help="File to write, JSON lines; genres.json goes beside it.")],
) -> None:
    """Export the tracks with feedback as a training manifest, with the corrected labels of the current model.

    `cogenre-train fit` accepts the manifest without changes: it reads s3:// URLs and splits tracks by artist.
    """
    from schemas.errors import ConfigError
    from worker.catalog.connect import open_catalog
    from worker.catalog.feedback import export_feedback

    engine = open_catalog()
    try:
        exported = export_feedback(engine, manifest)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename}: {error.strerror}") from None
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{exported.tracks:,} tracks in {manifest}", markup=False)
    if exported.without_job:
        console.print(f"{exported.without_job:,} left out: the catalog has no valid job for them")
