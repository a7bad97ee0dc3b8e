"""`cogenre catalog search`, `genres`, `correlations`, `changes`, `trend`, `unlabelled` and `similar`"""

from typing import Annotated, Literal

import typer
from rich.console import Console

from worker.cli.output import print_rows

Limit = Annotated[int, typer.Option(min=1, help="Maximum number of rows.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")]


def register(app: typer.Typer) -> None:
    for command in (search, genres, correlations, changes, trend, unlabelled, similar):
        app.command()(command)


def search(
    genre: Annotated[
        list[str] | None, typer.Option(help="The track has this genre; may be repeated.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="The track does not have this genre; repeat the option for more.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List tracks by their genres, highest score first."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.queries import search_tracks

    matches = search_tracks(open_catalog(), genre or [], without or [], limit)
    tracks = (
        {
            "track_id": track["track_id"],
            "title": track["title"],
            "artist": track["artist"],
            "genres": {
                slug: round(score, 4) for slug, score in zip(track["genres"], track["scores"], strict=True)
            },
        }
        for track in matches
    )
    if as_json:
        print_rows(tracks, as_json, empty="")
    else:
        print_rows(
            (track | {"genres": labels_text(track["genres"])} for track in tracks),
            as_json,
            "no track matches",
        )


def labels_text(labels: dict[str, float]) -> str:
    """Return labels as text, such as `rock 0.93, pop 0.61`."""
    return ", ".join(f"{slug} {score:.2f}" for slug, score in labels.items())


def genres(as_json: Json = False) -> None:
    """List the genres with their number of tracks, as of the last refresh."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.queries import fetch_genres

    print_rows(fetch_genres(open_catalog()), as_json, "no genres: no model is registered yet")


def correlations(
    genre: Annotated[
        str | None,
        typer.Argument(help="List this genre's neighbours; default: the most frequent pairs."),
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List genres that occur together, in the catalog and in the current model, as of the last refresh.

    share: share of the genre's tracks that also have the neighbour; lift: observed over expected
    co-occurrence if the two were independent; phi: correlation of the two labels, -1 to 1;
    learned_correlation: the weight in the model's genre graph, not a probability; learned_rank and
    observed_rank: rank of the neighbour by learned_correlation and by share, 1 = highest.
    """
    from worker.catalog.connect import open_catalog
    from worker.catalog.queries import fetch_correlations

    print_rows(
        fetch_correlations(open_catalog(), genre, limit),
        as_json,
        "no labels as of the last refresh: run `cogenre catalog refresh`",
    )


def changes(
    from_model: Annotated[str, typer.Argument(help="NAME:VERSION of the older model.")],
    to_model: Annotated[str, typer.Argument(help="NAME:VERSION of the newer model.")],
    genre: Annotated[str | None, typer.Option(help="List the tracks that gained or lost this genre.")] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List label changes between two models on the tracks that both classified, as of the last refresh."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.queries import fetch_changes

    print_rows(fetch_changes(open_catalog(), from_model, to_model, genre, limit), as_json, "nothing changed")


def trend(
    genre: Annotated[str, typer.Argument(help="Slug of the genre, such as hip-hop.")], as_json: Json = False
) -> None:
    """List a genre's share of the ingested tracks per week, as of the last refresh."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.queries import fetch_trend

    print_rows(fetch_trend(open_catalog(), genre), as_json, f"no track has {genre} as of the last refresh")


def unlabelled(
    reason: Annotated[
        Literal["no genre", "failed", "not shown", "waiting"] | None,
        typer.Option(help="List only tracks with this reason."),
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List tracks without labels and the reason, as of the last refresh."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.queries import fetch_coverage, fetch_unlabelled

    engine = open_catalog()
    if not as_json:
        totals = fetch_coverage(engine)
        Console(highlight=False).print(
            f"{totals['labelled']:,} of {totals['registered']:,} tracks have labels; "
            f"{totals['no_genre']:,} no genre above its threshold, {totals['failed']:,} failed, "
            f"{totals['not_shown']:,} not shown, {totals['waiting']:,} waiting"
        )
    print_rows(fetch_unlabelled(engine, reason, limit), as_json, "none")


def similar(
    track: Annotated[str, typer.Argument(help="Id of the track.")], limit: Limit = 20, as_json: Json = False
) -> None:
    """List the tracks whose embeddings are nearest to a track's, as of the last refresh. Needs pgvector."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.similarity import find_similar_tracks

    print_rows(find_similar_tracks(open_catalog(), track, limit), as_json, "no other track has an embedding")
