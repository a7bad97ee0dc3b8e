"""What analysts ask the catalog, as commands ask it. docs/analyse.md has the same questions in plain SQL.

All of them read schema `analytics`. `search` sees the catalog as it is; the others see it as of the last
`refresh`.
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


def search(
    engine: Engine, with_genres: Sequence[str], without_genres: Sequence[str], limit: int
) -> list[Row]:
    """Tracks that have all of `with_genres` and none of `without_genres`, by the least sure of the former.

    Raises ConfigError for a genre that no model knows, and where no genre is wanted.
    """
    with engine.connect() as connection:
        _check_genres(connection, (*with_genres, *without_genres))
        wanted, unwanted = dict.fromkeys(with_genres), dict.fromkeys(without_genres)
        if not wanted:
            raise ConfigError("name a genre that the tracks have: --genre")
        genres = {f"with_{at}": genre for at, genre in enumerate(wanted)}
        genres |= {f"without_{at}": genre for at, genre in enumerate(unwanted)}
        query = _search(len(wanted), len(unwanted))
        return _rows(connection, query, genres | {"limit": limit})


def _search(wanted: int, unwanted: int) -> TextClause:
    """A join a wanted genre, an anti-join an unwanted one: each is a scan of the index by genre."""
    joins = "".join(
        f" join analytics.label l{at} on l{at}.classification_id = l0.classification_id"
        f" and l{at}.genre = :with_{at}"
        for at in range(1, wanted)
    )
    without = "".join(
        f" and not exists (select from analytics.label n{at}"
        f" where n{at}.classification_id = l0.classification_id and n{at}.genre = :without_{at})"
        for at in range(unwanted)
    )
    # `least` of one score would hide the index's order from the planner.
    score = "l0.score" if wanted == 1 else f"least({', '.join(f'l{at}.score' for at in range(wanted))})"
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


def genres(engine: Engine) -> list[Row]:
    """Genres with their tracks."""
    return ask(engine, GENRES)


def correlations(engine: Engine, genre: str | None, limit: int) -> list[Row]:
    """A genre's neighbours, the most correlated first; without one, the pairs that most tracks carry.

    Beside what the catalog shows stands what the current model believes. Raises ConfigError for an unknown
    genre.
    """
    if genre is None:
        return ask(engine, PAIRS, {"limit": limit})
    with engine.connect() as connection:
        _check_genres(connection, [genre])
        return _rows(connection, NEIGHBOURS, {"genre": genre, "limit": limit})


def changes(engine: Engine, from_model: str, to_model: str, genre: str | None, limit: int) -> list[Row]:
    """What changed between two models, genre by genre; with a genre, the tracks that gained or lost it.

    Raises ConfigError where the refresh did not compare the two.
    """
    with engine.connect() as connection:
        pairs = [(row["from_model"], row["to_model"]) for row in _rows(connection, COMPARED)]
        if (from_model, to_model) not in pairs:
            known = "; ".join(f"{a} {b}" for a, b in pairs) or "none yet"
            raise ConfigError(
                f"{from_model} and {to_model} were not compared; `cogenre catalog refresh` compared: {known}"
            )
        models = {"from_model": from_model, "to_model": to_model}
        if genre is None:
            return _rows(connection, COMPARISON, models)
        _check_genres(connection, [genre])
        return _rows(connection, CHANGES, models | {"genre": genre, "limit": limit})


def trend(engine: Engine, genre: str) -> list[Row]:
    """A genre's share of the tracks ingested, week by week. Raises ConfigError for an unknown genre."""
    with engine.connect() as connection:
        _check_genres(connection, [genre])
        return _rows(connection, TREND, {"genre": genre})


def coverage(engine: Engine) -> Row:
    """How many tracks have labels, and why the others have none."""
    return ask(engine, COVERAGE)[0]


def unlabelled(engine: Engine, reason: str | None, limit: int) -> list[Row]:
    """Tracks without labels, and why, the newest first."""
    return ask(engine, UNLABELLED, {"reason": reason, "limit": limit})


def ask(engine: Engine, question: TextClause, values: Mapping[str, Any] | None = None) -> list[Row]:
    with engine.connect() as connection:
        return _rows(connection, question, values)


def _rows(connection: Connection, question: TextClause, values: Mapping[str, Any] | None = None) -> list[Row]:
    return [dict(row) for row in connection.execute(question, dict(values or {})).mappings()]


def _check_genres(connection: Connection, genres: Sequence[str]) -> None:
    known = set(connection.execute(text("select genre from analytics.genre")).scalars())
    for genre in genres:
        if genre not in known:
            raise ConfigError(
                f"no model knows the genre {genre}; known: {', '.join(sorted(known)) or 'none yet'}"
            )
