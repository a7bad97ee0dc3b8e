"""Queries of the `cogenre catalog` commands. docs/analyse.md has the same queries in SQL.

They read schema `analytics`. `search` reads the current state, the others that of the last refresh.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, text

from schemas.errors import ConfigError

Row = dict[str, Any]

GENRES = text(
    "select genre, name, parent, tracks, mean_score from analytics.genre order by tracks desc, genre"
)

NEIGHBOURS = text("""
    select genre_b as genre, n as tracks, b_given_a as share, lift, phi,
           learned_correlation, learned_rank, observed_rank
    from analytics.learned_and_observed
    where genre_a = :genre
    order by phi desc nulls last, genre_b
    limit :limit
""")

PAIRS = text("""
    select genre_a, genre_b, n as tracks, lift, phi, learned_correlation
    from analytics.learned_and_observed
    where genre_a < genre_b and n > 0
    order by n desc, genre_a, genre_b
    limit :limit
""")

COMPARISON = text("""
    select genre, kept, gained, lost
    from analytics.model_comparison
    where from_model = :from_model and to_model = :to_model
    order by gained + lost desc, genre
""")

CHANGES = text("""
    select c.track_id, t.title, t.artist, c.change, c.score, t.genres
    from (
        select track_id, change, score from analytics.label_change
        where from_model = :from_model and to_model = :to_model and genre = :genre
        order by score desc, track_id
        limit :limit
    ) c
    join analytics.track t using (track_id)
    order by c.score desc, c.track_id
""")

COMPARED = text("select distinct from_model, to_model from analytics.model_comparison order by 1, 2")

TREND = text("""
    select week, tracks, share, mean_score from analytics.genre_week where genre = :genre order by week
""")

COVERAGE = text("select * from analytics.coverage")

UNLABELLED = text("""
    select track_id, title, artist, reason, stage, error_class, detail
    from analytics.unlabelled
    where cast(:reason as text) is null or reason = :reason
    order by registered_at desc, track_id
    limit :limit
""")


def search_tracks(
    engine: Engine, with_genres: Sequence[str], without_genres: Sequence[str], limit: int
) -> list[Row]:
    """Return the tracks with all of `with_genres` and none of `without_genres`.

    They are ordered by the lowest of their scores for `with_genres`, descending.

    Raises ConfigError for an unknown genre, and if `with_genres` is empty.
    """
    with engine.connect() as connection:
        _check_genres(connection, (*with_genres, *without_genres))
        required, excluded = dict.fromkeys(with_genres), dict.fromkeys(without_genres)
        if not required:
            raise ConfigError("name a genre that the tracks have: --genre")
        genres = {f"with_{at}": genre for at, genre in enumerate(required)}
        genres |= {f"without_{at}": genre for at, genre in enumerate(excluded)}
        query = _search_query(len(required), len(excluded))
        return _fetch_rows(connection, query, genres | {"limit": limit})


def _search_query(required: int, excluded: int) -> TextClause:
    """Return the query of `search`, with a join per required and an anti-join per excluded genre."""
    joins = "".join(
        f" join analytics.label l{at} on l{at}.classification_id = l0.classification_id"
        f" and l{at}.genre = :with_{at}"
        for at in range(1, required)
    )
    without = "".join(
        f" and not exists (select from analytics.label n{at}"
        f" where n{at}.classification_id = l0.classification_id and n{at}.genre = :without_{at})"
        for at in range(excluded)
    )
    # With `least` of a single score the planner could not use the index's order.
    score = "l0.score" if required == 1 else f"least({', '.join(f'l{at}.score' for at in range(required))})"
    return text(f"""
        select t.track_id, t.title, t.artist, t.genres, t.scores
        from (
            select l0.classification_id, {score} as score from analytics.label l0{joins}
            where l0.genre = :with_0{without}
            order by score desc, classification_id
            limit :limit
        ) found
        join analytics.track t using (classification_id)
        order by found.score desc, classification_id
    """)  # noqa: S608 - numbered parameters only


def fetch_genres(engine: Engine) -> list[Row]:
    """Return the genres with their number of tracks."""
    return fetch_rows(engine, GENRES)


def fetch_correlations(engine: Engine, genre: str | None, limit: int) -> list[Row]:
    """Return a genre's neighbours by phi, descending; if `genre` is None, the pairs with the most tracks.

    Each row has the observed co-occurrence and the current model's learned correlation. Raises ConfigError
    for an unknown genre.
    """
    if genre is None:
        return fetch_rows(engine, PAIRS, {"limit": limit})
    with engine.connect() as connection:
        _check_genres(connection, [genre])
        return _fetch_rows(connection, NEIGHBOURS, {"genre": genre, "limit": limit})


def fetch_changes(engine: Engine, from_model: str, to_model: str, genre: str | None, limit: int) -> list[Row]:
    """Return label changes between two models per genre; with `genre`, the tracks that gained or lost it.

    Raises ConfigError if the last refresh did not compare the two models.
    """
    with engine.connect() as connection:
        pairs = [(row["from_model"], row["to_model"]) for row in _fetch_rows(connection, COMPARED)]
        if (from_model, to_model) not in pairs:
            compared = "; ".join(f"{a} {b}" for a, b in pairs) or "none"
            raise ConfigError(
                f"{from_model} and {to_model} were not compared; the last `cogenre catalog refresh` "
                f"compared: {compared}"
            )
        models = {"from_model": from_model, "to_model": to_model}
        if genre is None:
            return _fetch_rows(connection, COMPARISON, models)
        _check_genres(connection, [genre])
        return _fetch_rows(connection, CHANGES, models | {"genre": genre, "limit": limit})


def fetch_trend(engine: Engine, genre: str) -> list[Row]:
    """Return a genre's share of the ingested tracks per week. Raises ConfigError for an unknown genre."""
    with engine.connect() as connection:
        _check_genres(connection, [genre])
        return _fetch_rows(connection, TREND, {"genre": genre})


def fetch_coverage(engine: Engine) -> Row:
    """Return the number of tracks with labels, and of those without labels by reason."""
    return fetch_rows(engine, COVERAGE)[0]


def fetch_unlabelled(engine: Engine, reason: str | None, limit: int) -> list[Row]:
    """Return tracks without labels with the reason, newest first."""
    return fetch_rows(engine, UNLABELLED, {"reason": reason, "limit": limit})


def fetch_rows(engine: Engine, query: TextClause, values: Mapping[str, Any] | None = None) -> list[Row]:
    """Return the rows of a query, each by column name."""
    with engine.connect() as connection:
        return _fetch_rows(connection, query, values)


def _fetch_rows(
    connection: Connection, query: TextClause, values: Mapping[str, Any] | None = None
) -> list[Row]:
    return [dict(row) for row in connection.execute(query, dict(values or {})).mappings()]


def _check_genres(connection: Connection, genres: Sequence[str]) -> None:
    """Raise ConfigError if no registered model has one of the genres."""
    registered = set(connection.execute(text("select genre from analytics.genre")).scalars())
    for genre in genres:
        if genre not in registered:
            raise ConfigError(
                f"no model has the genre {genre}; registered genres: "
                f"{', '.join(sorted(registered)) or 'none'}"
            )
