"""Tracks that sound and read alike: nearest by the current model's embedding, with pgvector.

Embeddings are written as plain arrays, because an index of vectors would slow the workers down. A refresh
copies those of the current model into `similarity.track_vector` and indexes them there. Embeddings of
different models cannot be compared, so that another current model starts it anew.
"""

import math
from typing import Any

from sqlalchemy import Connection, Engine, text

from worker.errors import ConfigError

INDEXED_FROM = 10_000
"""Tracks from which an index pays; fewer are searched exactly."""
MOST_LISTS = 1000
BUILD_MEMORY = "512MB"
"""Choosing the centres of so many lists takes half of it; PostgreSQL's default of 64 MB is too little."""

SETUP = """
create schema if not exists similarity;
create table if not exists similarity.track_vector (
    track_id text primary key,
    classification_id bigint not null unique,
    model_id smallint not null,
    embedding public.vector({width}) not null
);
create or replace view analytics.track_vector as
select track_id, embedding from similarity.track_vector;
comment on view analytics.track_vector is 'Embeddings of the current model, as of the last refresh.';
comment on column analytics.track_vector.track_id is 'The platform''s own id.';
comment on column analytics.track_vector.embedding is 'The fused vector of sound and lyrics.';
"""

WIDTH = text("""
    select m.id as model_id, cardinality(c.embedding) as width
    from track_current cur
    join classification c on c.id = cur.classification_id
    join model m on m.id = c.model_id and m.status = 'current'
    limit 1
""")

FORGET = text("""
    delete from similarity.track_vector v
    where not exists (select from track_current t where t.classification_id = v.classification_id)
""")

ADD = text("""
    insert into similarity.track_vector (track_id, classification_id, model_id, embedding)
    select c.track_id, c.id, c.model_id, cast(c.embedding as vector)
    from track_current cur
    join classification c on c.id = cur.classification_id
    where c.model_id = :model
      and not exists (select from similarity.track_vector v where v.classification_id = c.id)
    on conflict (track_id) do update
    set classification_id = excluded.classification_id, embedding = excluded.embedding
""")

# By its name: analysts may not look an object of schema `similarity` up.
LISTS = text("""
    select (select option_value::int from pg_options_to_table(c.reloptions) where option_name = 'lists')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'similarity' and c.relname = 'track_vector_embedding_idx'
""")

NEAREST = text("""
    select v.track_id, t.title, t.artist, 1 - (v.embedding <=> wanted.embedding) as similarity, t.genres
    from (
        select track_id, embedding from analytics.track_vector
        where track_id <> :track
        order by embedding <=> (select embedding from analytics.track_vector where track_id = :track)
        limit :limit
    ) v
    join analytics.track t using (track_id)
    cross join (select embedding from analytics.track_vector where track_id = :track) wanted
    order by similarity desc, v.track_id
""")


def index_embeddings(connection: Connection) -> bool:
    """Bring the vectors up to date; False where the catalog has no pgvector or no labels yet."""
    if not _has_vectors(connection):
        return False
    model = connection.execute(WIDTH).one_or_none()
    if model is None:
        return False
    connection.exec_driver_sql(SETUP.format(width=model.width))
    stale = connection.scalar(
        text("select exists (select from similarity.track_vector where model_id <> :model)"),
        {"model": model.model_id},
    )
    if stale:
        connection.exec_driver_sql("drop table similarity.track_vector cascade")
        connection.exec_driver_sql(SETUP.format(width=model.width))
    connection.execute(FORGET)
    connection.execute(ADD, {"model": model.model_id})
    connection.exec_driver_sql("analyze similarity.track_vector")
    tracks = connection.scalar(text("select count(*) from similarity.track_vector")) or 0
    lists = min(math.isqrt(tracks), MOST_LISTS)
    built: int | None = connection.scalar(LISTS)
    # The lists' centres are those of the tracks at hand when it was built: twice as many lists, anew.
    if tracks >= INDEXED_FROM and (built is None or lists >= 2 * built):
        _build(connection, lists)
    return True


def similar(engine: Engine, track_id: str, limit: int) -> list[dict[str, Any]]:
    """The tracks nearest to one. Raises ConfigError where that cannot be known, saying what to do."""
    with engine.connect() as connection:
        if not _has_vectors(connection):
            raise ConfigError(
                "similar tracks need pgvector: install it in PostgreSQL, run `create extension vector` in "
                "the catalog, then `cogenre catalog refresh`"
            )
        known = connection.scalar(text("select to_regclass('analytics.track_vector')")) and connection.scalar(
            text("select true from analytics.track_vector where track_id = :track"), {"track": track_id}
        )
        if not known:
            raise ConfigError(
                f"no embedding of {track_id} by the current model: label it, then `cogenre catalog refresh`"
            )
        lists = connection.scalar(LISTS) or 1
        connection.exec_driver_sql(f"set local ivfflat.probes = {probes(lists)}")
        found = connection.execute(NEAREST, {"track": track_id, "limit": limit}).mappings()
        return [dict(row) for row in found]


def probes(lists: int) -> int:
    """Lists that a search looks into: pgvector's own advice."""
    return max(1, math.isqrt(lists))


def _build(connection: Connection, lists: int) -> None:
    """Built beside the old index, it takes its place."""
    connection.exec_driver_sql(f"set maintenance_work_mem = '{BUILD_MEMORY}'")
    connection.exec_driver_sql("drop index concurrently if exists similarity.track_vector_next_idx")
    connection.exec_driver_sql(
        "create index concurrently track_vector_next_idx on similarity.track_vector "
        f"using ivfflat (embedding vector_cosine_ops) with (lists = {lists})"
    )
    connection.exec_driver_sql("drop index if exists similarity.track_vector_embedding_idx")
    connection.exec_driver_sql(
        "alter index similarity.track_vector_next_idx rename to track_vector_embedding_idx"
    )
    connection.exec_driver_sql("reset maintenance_work_mem")


def _has_vectors(connection: Connection) -> bool:
    return bool(connection.scalar(text("select true from pg_extension where extname = 'vector'")))
