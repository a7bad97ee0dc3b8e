"""What people ask the catalog. Reads the `analytics` views, as analysts do."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

from worker.errors import ConfigError

SEARCH = text("""
    with wanted as (
        select track_id, min(score) as score
        from analytics.track_label
        where genre = any(:with_genres)
        group by track_id
        having count(*) = cardinality(cast(:with_genres as text[]))
    )
    select l.track_id, l.title, l.artist, array_agg(l.genre order by l.score desc) as genres,
           array_agg(l.score order by l.score desc) as scores
    from analytics.track_label l
    left join wanted using (track_id)
    where (cardinality(cast(:with_genres as text[])) = 0 or wanted.track_id is not null)
      and not exists (
          select from analytics.track_label unwanted
          where unwanted.track_id = l.track_id and unwanted.genre = any(:without_genres)
      )
    group by l.track_id, l.title, l.artist, wanted.score
    order by wanted.score desc nulls last, max(l.score) desc, l.track_id
    limit :limit
""")

PAIRS = text(
    "select genre_a, genre_b, tracks from analytics.genre_pair order by tracks desc, 1, 2 limit :limit"
)

STATE = text("""
    select (select count(*) from track) as registered,
           (select count(*) from track_current) as labelled,
           (select count(*) from classification
            where classified_at > now() - interval '1 minute') as last_minute,
           (select count(*) from analytics.failure) as failed
""")


@dataclass(frozen=True)
class LabelledTrack:
    track_id: str
    title: str | None
    artist: str | None
    labels: tuple[tuple[str, float], ...]
    """(genre, score), the highest first."""


@dataclass(frozen=True)
class CatalogState:
    registered: int
    labelled: int
    last_minute: int
    """Classifications committed in the last minute."""
    failed: int


def search(
    engine: Engine, with_genres: Sequence[str], without_genres: Sequence[str], limit: int
) -> list[LabelledTrack]:
    """Tracks that have all of `with_genres` and none of `without_genres`, the surest first.

    Raises ConfigError for a genre that no model knows.
    """
    with engine.connect() as connection:
        known = set(connection.execute(text("select slug from genre")).scalars())
        for genre in (*with_genres, *without_genres):
            if genre not in known:
                raise ConfigError(
                    f"no model knows the genre {genre}; known: {', '.join(sorted(known)) or 'none yet'}"
                )
        rows = connection.execute(
            SEARCH, {"with_genres": list(with_genres), "without_genres": list(without_genres), "limit": limit}
        )
        return [
            LabelledTrack(
                row.track_id, row.title, row.artist, tuple(zip(row.genres, row.scores, strict=True))
            )
            for row in rows
        ]


def genre_pairs(engine: Engine, limit: int) -> list[tuple[str, str, int]]:
    """The pairs of genres that most tracks carry together, with the number of tracks."""
    with engine.connect() as connection:
        return [(row.genre_a, row.genre_b, row.tracks) for row in connection.execute(PAIRS, {"limit": limit})]


def state(engine: Engine) -> CatalogState:
    with engine.connect() as connection:
        return CatalogState(**connection.execute(STATE).one()._asdict())
