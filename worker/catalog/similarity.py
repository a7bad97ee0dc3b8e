"""Finds similar tracks with pgvector: the nearest neighbours by the current model's embeddings.

Workers write embeddings as plain arrays, because a vector index would slow them down. A refresh copies those
of the current model to `similarity.track_vector` and indexes them. Embeddings of different models are not
comparable. After a promotion a new table is filled and indexed, and then replaces the old one.
"""

import math
from typing import Any

from sqlalchemy import Connection, Engine, text

from schemas.catalog.migrations.online import execute_with_lock_timeout
from schemas.errors import ConfigError

INDEXED_FROM = 10_000
"""Number of tracks from which an index is built. Fewer tracks are searched exactly."""
MAX_LISTS = 1000
BUILD_MEMORY = "512MB"
"""maintenance_work_mem of an index build. MAX_LISTS centroids need half of it; the default, 64 MB, is too
small."""

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

# A view cannot change the type of a column, and the width of a vector is part of its type.
DROP_VIEW = "drop view if exists analytics.track_vector cascade;"

SWAP = """
create or replace view analytics.track_vector as
select track_id, embedding from similarity.track_vector_next;
comment on view analytics.track_vector is 'Embeddings of the current model, as of the last refresh.';
comment on column analytics.track_vector.track_id is 'The platform''s id of the track.';
comment on column analytics.track_vector.embedding is 'Fused vector of audio and lyrics.';
drop table if exists similarity.track_vector;
alter table similarity.track_vector_next rename to track_vector;
alter table similarity.track_vector rename constraint track_vector_next_pkey to track_vector_pkey;
alter table similarity.track_vector
    rename constraint track_vector_next_classification_id_key to track_vector_classification_id_key;
alter index if exists similarity.track_vector_next_embedding_idx rename to track_vector_embedding_idx
"""

CURRENT_WIDTH = text("""
    select atttypmod from pg_attribute
    where attrelid = to_regclass('analytics.track_vector') and attname = 'embedding'
""")

HAS_OTHER_MODEL = text("select exists (select from similarity.track_vector where model_id <> :model)")

WIDTH = text("""
    select m.id as model_id, cardinality(c.embedding) as width
    from track_current cur
    join classification c on c.id = cur.classification_id
    join model m on m.id = c.model_id and m.status = 'current'
    limit 1
""")

DELETE_STALE = text("""
    delete from similarity.track_vector v
    where not exists (select from track_current t where t.classification_id = v.classification_id)
""")

INSERT_NEW = """
    insert into similarity.{table} (track_id, classification_id, model_id, embedding)
    select c.track_id, c.id, c.model_id, cast(c.embedding as vector)
    from track_current cur
    join classification c on c.id = cur.classification_id
    where c.model_id = :model
      and not exists (select from similarity.{table} v where v.classification_id = c.id)
    on conflict (track_id) do update
    set classification_id = excluded.classification_id, embedding = excluded.embedding
"""

# The index is found by name, because analysts may not use schema `similarity`.
LISTS = text("""
    select (select option_value::int from pg_options_to_table(c.reloptions) where option_name = 'lists')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'similarity' and c.relname = 'track_vector_embedding_idx'
""")

NEAREST = text("""
    select v.track_id, t.title, t.artist, 1 - (v.embedding <=> query.embedding) as similarity, t.genres
    from (
        select track_id, embedding from analytics.track_vector
        where track_id <> :track
        order by embedding <=> (select embedding from analytics.track_vector where track_id = :track)
        limit :limit
    ) v
    join analytics.track t using (track_id)
    cross join (select embedding from analytics.track_vector where track_id = :track) query
    order by similarity desc, v.track_id
""")


def index_embeddings(connection: Connection) -> bool:
    """Update the vectors. Return False if pgvector is not installed or no track is classified."""
    if not _has_pgvector(connection):
        return False
    model = connection.execute(WIDTH).one_or_none()
    if model is None:
        return False
    width = connection.scalar(CURRENT_WIDTH)
    if width != model.width or connection.scalar(HAS_OTHER_MODEL, {"model": model.model_id}):
        _build_new_table(connection, model.model_id, model.width, width)
        return True
    connection.execute(DELETE_STALE)
    connection.execute(text(INSERT_NEW.format(table="track_vector")), {"model": model.model_id})
    connection.exec_driver_sql("analyze similarity.track_vector")
    lists = _count_lists(connection, "track_vector")
    built: int | None = connection.scalar(LISTS)
    # The centroids represent the tracks at build time, so rebuild when the number of lists has doubled.
    if lists and (built is None or lists >= 2 * built):
        _build_index(connection, "track_vector", "track_vector_next_idx", lists, "concurrently")
        execute_with_lock_timeout(
            "drop index if exists similarity.track_vector_embedding_idx; "
            "alter index similarity.track_vector_next_idx rename to track_vector_embedding_idx",
            connection,
        )
    return True


def _build_new_table(connection: Connection, model: int, width: int, old_width: int | None) -> None:
    """Fill and index a new table, then swap, so that a search always finds all tracks of one model."""
    connection.exec_driver_sql(CREATE.format(width=width))
    connection.execute(text(INSERT_NEW.format(table="track_vector_next")), {"model": model})
    lists = _count_lists(connection, "track_vector_next")
    if lists:
        _build_index(connection, "track_vector_next", "track_vector_next_embedding_idx", lists)
    connection.exec_driver_sql("analyze similarity.track_vector_next")
    execute_with_lock_timeout((DROP_VIEW if old_width not in (None, width) else "") + SWAP, connection)


def find_similar_tracks(engine: Engine, track_id: str, limit: int) -> list[dict[str, Any]]:
    """Return the nearest tracks. Raises ConfigError if pgvector or the track's embedding is missing."""
    with engine.connect() as connection:
        if not _has_pgvector(connection):
            raise ConfigError(
                "similar tracks need pgvector: install it in PostgreSQL, run `create extension vector` in "
                "the catalog, then `cogenre catalog refresh`"
            )
        has_embedding = connection.scalar(
            text("select to_regclass('analytics.track_vector')")
        ) and connection.scalar(
            text("select true from analytics.track_vector where track_id = :track"), {"track": track_id}
        )
        if not has_embedding:
            raise ConfigError(
                f"{track_id} has no embedding by the current model: classify it, then run "
                "`cogenre catalog refresh`"
            )
        lists = connection.scalar(LISTS) or 1
        connection.exec_driver_sql(f"set local ivfflat.probes = {count_probes(lists)}")
        found = connection.execute(NEAREST, {"track": track_id, "limit": limit}).mappings()
        return [dict(row) for row in found]


def count_probes(lists: int) -> int:
    """Return the number of lists to search: the square root, as pgvector recommends."""
    return max(1, math.isqrt(lists))


def _count_lists(connection: Connection, table: str) -> int:
    """Return the number of lists for an index of the table; 0 = too few tracks for an index."""
    tracks = connection.scalar(text(f"select count(*) from similarity.{table}")) or 0  # noqa: S608 - a fixed name
    return min(math.isqrt(tracks), MAX_LISTS) if tracks >= INDEXED_FROM else 0


def _build_index(connection: Connection, table: str, index: str, lists: int, concurrently: str = "") -> None:
    connection.exec_driver_sql(f"set maintenance_work_mem = '{BUILD_MEMORY}'")
    connection.exec_driver_sql(f"drop index concurrently if exists similarity.{index}")
    connection.exec_driver_sql(
        f"create index {concurrently} {index} on similarity.{table} "
        f"using ivfflat (embedding vector_cosine_ops) with (lists = {lists})"
    )
    connection.exec_driver_sql("reset maintenance_work_mem")


def _has_pgvector(connection: Connection) -> bool:
    return bool(connection.scalar(text("select true from pg_extension where extname = 'vector'")))
