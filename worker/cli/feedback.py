"""`cogenre feedback …`"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, help="What people say of labels.")


@app.command()
def add(
    track: Annotated[str, typer.Argument(help="Its id.")],
    genre: Annotated[str, typer.Argument(help="Its key, such as hip-hop; the model need not have given it.")],
    verdict: Annotated[Literal["right", "wrong"], typer.Argument(help="Whether the track has the genre.")],
    by: Annotated[str, typer.Option(help="Who says so. Of one person the last word counts.")],
) -> None:
    """Say that a track has a genre, or has it not."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.feedback import add_feedback
    from worker.settings import CatalogSettings

    add_feedback(connect_migrated(CatalogSettings.load()), track, genre, verdict == "right", by)
    Console(highlight=False).print(f"{genre} on {track} is {verdict}, says {by}", markup=False)


@app.command()
def export(
    manifest: Annotated[Path, typer.Argument(help="File to write, JSON lines; genres.json goes beside it.")],
) -> None:
    """The tracks that people judged, as a training manifest: labels of the current model, corrected.

    `cogenre-train fit` takes it as it is: it reads s3:// addresses and splits the tracks by artist.
    """
    from schemas.errors import ConfigError
    from worker.catalog.connect import connect_migrated
    from worker.catalog.feedback import export_feedback
    from worker.settings import CatalogSettings

    engine = connect_migrated(CatalogSettings.load())
    try:
        done = export_feedback(engine, manifest)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename}: {error.strerror}") from None
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{done.tracks:,} tracks in {manifest}", markup=False)
    if done.without_job:
        console.print(f"{done.without_job:,} left out: the catalog does not know where their audio is")
