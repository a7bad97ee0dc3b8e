"""`cogenre catalog search`, `genres`, `correlations`, `changes`, `trend`, `unlabelled` and `similar`"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from worker.cli.output import show

if TYPE_CHECKING:
    from sqlalchemy import Engine

Limit = Annotated[int, typer.Option(min=1, help="Rows, at most.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")]


def register(app: typer.Typer) -> None:
    for command in (search, genres, correlations, changes, trend, unlabelled, similar):
        app.command()(command)


def _catalog() -> "Engine":
    from worker.catalog.connect import connect_migrated
    from worker.settings import CatalogSettings

    return connect_migrated(CatalogSettings.load())


def search(
    genre: Annotated[
        list[str] | None, typer.Option(help="The track has this genre; may be repeated.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="The track has not; may be repeated.")] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Tracks by their genres, the surest first."""
    from worker.catalog.queries import search

    found = search(_catalog(), genre or [], without or [], limit)
    tracks = (
        {
            "track_id": track["track_id"],
            "title": track["title"],
            "artist": track["artist"],
            "genres": {
                slug: round(score, 4) for slug, score in zip(track["genres"], track["scores"], strict=True)
            },
        }
        for track in found
    )
    if as_json:
        show(tracks, as_json, empty="")
    else:
        show((track | {"genres": labels_text(track["genres"])} for track in tracks), as_json, "no such track")


def labels_text(labels: dict[str, float]) -> str:
    """`rock 0.93, pop 0.61`"""
    return ", ".join(f"{slug} {score:.2f}" for slug, score in labels.items())


def genres(as_json: Json = False) -> None:
    """Tracks a genre, as of the last refresh."""
    from worker.catalog.queries import genres

    show(genres(_catalog()), as_json, "no genres: no model is registered yet")


def correlations(
    genre: Annotated[
        str | None, typer.Argument(help="Its neighbours; without it, the commonest pairs.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Genres that occur together, in the catalog and in the current model, as of the last refresh.

    share: share of the genre's tracks that also have the neighbour; lift: observed over expected
    co-occurrence if the two were independent; phi: correlation of the two labels, -1 to 1;
    learned_correlation: the weight in the model's genre graph, not a probability; learned_rank and
    observed_rank: rank of the neighbour by learned_correlation and by share, 1 = highest.
    """
    from worker.catalog.queries import correlations

    show(
        correlations(_catalog(), genre, limit), as_json, "no labels as of the last `cogenre catalog refresh`"
    )


def changes(
    from_model: Annotated[str, typer.Argument(help="NAME:VERSION of the older one.")],
    to_model: Annotated[str, typer.Argument(help="NAME:VERSION of the newer one.")],
    genre: Annotated[str | None, typer.Option(help="List the tracks that gained or lost it.")] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """What changed between two models on the tracks that both classified. As of the last refresh."""
    from worker.catalog.queries import changes

    show(changes(_catalog(), from_model, to_model, genre, limit), as_json, "nothing changed")


def trend(genre: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """A genre's share of the tracks ingested, week by week. As of the last refresh."""
    from worker.catalog.queries import trend

    show(trend(_catalog(), genre), as_json, f"no track carries {genre} as of the last refresh")


def unlabelled(
    reason: Annotated[
        Literal["no genre", "failed", "not shown", "waiting"] | None, typer.Option(help="Only these.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Tracks without labels, and why. As of the last refresh."""
    from worker.catalog.queries import coverage, unlabelled

    catalog = _catalog()
    if not as_json:
        all_tracks = coverage(catalog)
        Console(highlight=False).print(
            f"{all_tracks['labelled']:,} of {all_tracks['registered']:,} tracks have labels; "
            f"{all_tracks['no_genre']:,} no genre above its threshold, {all_tracks['failed']:,} failed, "
            f"{all_tracks['not_shown']:,} not by a shown model, {all_tracks['waiting']:,} waiting"
        )
    show(unlabelled(catalog, reason, limit), as_json, "none")


def similar(
    track: Annotated[str, typer.Argument(help="Its id.")], limit: Limit = 20, as_json: Json = False
) -> None:
    """The tracks that sound and read most like one; needs pgvector. As of the last refresh."""
    from worker.catalog.similarity import similar

    show(similar(_catalog(), track, limit), as_json, "no other track")
