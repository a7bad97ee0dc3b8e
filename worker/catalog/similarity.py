"""Tracks that sound and read alike: nearest by the current model's embedding, with pgvector.

Embeddings are written as plain arrays, because an index of vectors would slow the workers down. A refresh
copies those of the current model into `similarity.track_vector` and indexes them there. Embeddings of
different models cannot be compared, so that another current model has a table of its own: it takes the place
of the other when it is full and indexed.
"""

import math
from typing import Any

from sqlalchemy import Connection, Engine, text

from schemas.catalog.migrations.online import execute_with_lock_timeout
from schemas.errors import ConfigError

INDEXED_FROM = 10_000
"""Tracks from which an index pays; fewer are searched exactly."""
MAX_LISTS = 1000
BUILD_MEMORY = "512MB"
"""Choosing the centres of so many lists takes half of it; PostgreSQL's default of 64 MB is too little."""

CREATE = """
create schema if not exists similarity;
drop table if exists similarity.track_vector_next;
create table similarity.track_vector_next (
    track_id text constraint track_vector_next_pkey primary key,
    classification_id bigint not null constraint track_vector_next_classification_id_key unique,
    model_id smallint not null,
    embedding public.vector({width}) not null
)
"""

# A view keeps its columns' types, and a vector's width is part of its type.
DROP_VIEW = "drop view if exists analytics.track_vector cascade;"

SWAP = """
create or replace view analytics.track_vector as
select track_id, embedding from similarity.track_vector_next;
comment on view analytics.track_vector is 'Embeddings of the current model, as of the last refresh.';
comment on column analytics.track_vector.track_id is 'The platform''s own id.';
comment on column analytics.track_vector.embedding is 'The fused vector of sound and lyrics.';
drop table if exists similarity.track_vector;
alter table similarity.track_vector_next rename to track_vector;
alter table similarity.track_vector rename constraint track_vector_next_pkey to track_vector_pkey;
alter table similarity.track_vector
    rename constraint track_vector_next_classification_id_key to track_vector_classification_id_key;
alter index if exists similarity.track_vector_next_embedding_idx rename to track_vector_embedding_idx
"""

HELD_WIDTH = text("""
    select atttypmod from pg_attribute
    where attrelid = to_regclass('analytics.track_vector') and attname = 'embedding'
""")

HOLDS_OTHERS = text("select exists (select from similarity.track_vector where model_id <> :model)")

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

ADD = """
    insert into similarity.{table} (track_id, classification_id, model_id, embedding)
    select c.track_id, c.id, c.model_id, cast(c.embedding as vector)
    from track_current cur
    join classification c on c.id = cur.classification_id
    where c.model_id = :model
      and not exists (select from similarity.{table} v where v.classification_id = c.id)
    on conflict (track_id) do update
    set classification_id = excluded.classification_id, embedding = excluded.embedding
"""

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
    held = connection.scalar(HELD_WIDTH)
    if held != model.width or connection.scalar(HOLDS_OTHERS, {"model": model.model_id}):
        _start_anew(connection, model.model_id, model.width, held)
        return True
    connection.execute(FORGET)
    connection.execute(text(ADD.format(table="track_vector")), {"model": model.model_id})
    connection.exec_driver_sql("analyze similarity.track_vector")
    lists = _lists(connection, "track_vector")
    built: int | None = connection.scalar(LISTS)
    # The lists' centres are those of the tracks at hand when it was built: twice as many lists, anew.
    if lists and (built is None or lists >= 2 * built):
        _build(connection, "track_vector", "track_vector_next_idx", lists, "concurrently")
        execute_with_lock_timeout(
            "drop index if exists similarity.track_vector_embedding_idx; "
            "alter index similarity.track_vector_next_idx rename to track_vector_embedding_idx",
            connection,
        )
    return True


def _start_anew(connection: Connection, model: int, width: int, held: int | None) -> None:
    """Fill and index another table, then swap: a search finds all tracks of either model."""
    connection.exec_driver_sql(CREATE.format(width=width))
    connection.execute(text(ADD.format(table="track_vector_next")), {"model": model})
    lists = _lists(connection, "track_vector_next")
    if lists:
        _build(connection, "track_vector_next", "track_vector_next_embedding_idx", lists)
    connection.exec_driver_sql("analyze similarity.track_vector_next")
    execute_with_lock_timeout((DROP_VIEW if held not in (None, width) else "") + SWAP, connection)


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


def _lists(connection: Connection, table: str) -> int:
    """Of an index of the table's tracks; 0 where it does not pay."""
    tracks = connection.scalar(text(f"select count(*) from similarity.{table}")) or 0  # noqa: S608 - ours
    return min(math.isqrt(tracks), MAX_LISTS) if tracks >= INDEXED_FROM else 0


def _build(connection: Connection, table: str, index: str, lists: int, concurrently: str = "") -> None:
    connection.exec_driver_sql(f"set maintenance_work_mem = '{BUILD_MEMORY}'")
    connection.exec_driver_sql(f"drop index concurrently if exists similarity.{index}")
    connection.exec_driver_sql(
        f"create index {concurrently} {index} on similarity.{table} "
        f"using ivfflat (embedding vector_cosine_ops) with (lists = {lists})"
    )
    connection.exec_driver_sql("reset maintenance_work_mem")


def _has_vectors(connection: Connection) -> bool:
    return bool(connection.scalar(text("select true from pg_extension where extname = 'vector'")))
