"""`cogenre catalog …`"""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="The catalog of labels.")


@app.command()
def migrate() -> None:
    """Create the catalog, or bring it to this release's schema."""
    from schemas.catalog.migrate import migrate
    from worker.catalog.connect import connect
    from worker.settings import CatalogSettings

    before, after = migrate(connect(CatalogSettings.load()))
    Console().print(
        f"catalog at revision {after}" + (f", before {before or 'empty'}" if before != after else "")
    )


@app.command()
def search(
    genre: Annotated[
        list[str] | None, typer.Option(help="The track has this genre; may be repeated.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="The track has not; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
) -> None:
    """Tracks by their genres, the surest first."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.queries import search
    from worker.settings import CatalogSettings

    tracks = search(connect_migrated(CatalogSettings.load()), genre or [], without or [], limit)
    if as_json:
        for track in tracks:
            typer.echo(
                json.dumps(
                    {
                        "track_id": track.track_id,
                        "title": track.title,
                        "artist": track.artist,
                        "genres": {slug: round(score, 4) for slug, score in track.labels},
                    },
                    ensure_ascii=False,
                )
            )
        return
    table = Table("track", "title", "artist", "genres")
    for track in tracks:
        table.add_row(track.track_id, track.title, track.artist, labels_text(track.labels))
    Console().print(table if tracks else "no such track")


def labels_text(labels: tuple[tuple[str, float], ...]) -> str:
    """`rock 0.93, pop 0.61`"""
    return ", ".join(f"{slug} {score:.2f}" for slug, score in labels)
