"""Promotes and retires models. A model is shadow, current or retired.

```
          promote                  another is promoted
shadow ─────────────► current ───────────────────────► retired
  │                      ▲                                │
  └──────► retired       └────────────────────────────────┘
   retire                     promote it again
```

A promotion gives the model the highest rank. From then on, only its labels replace the labels that are shown.
Writers wait only for this first transaction. A second transaction, concurrent with writers, moves
`track_current` to the model's classifications. A track keeps the labels of the older model if the new one has
not classified its newest input. If a promotion is interrupted in between, promoting the same model again
completes it.
"""

from dataclasses import dataclass
from typing import Any

import tenacity
from psycopg.errors import DeadlockDetected
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from schemas.errors import ConfigError
from worker.catalog.models import show_genres

MAX_ATTEMPTS = 5
"""Attempts to move the pointers, which can deadlock with a worker that commits a result of the same track."""

# Until the commit no other model can be registered, promoted or retired, because it could get the same rank.
LOCK_MODELS = text("lock table model in share row exclusive mode")

# Waits for open commits of workers. Commits that begin afterwards see the new current model.
LOCK_WRITERS = text("lock table track_current in share row exclusive mode")

# Held while the pointers move, so that no other promotion begins. Workers continue.
LOCK_PROMOTIONS = text("lock table model in share update exclusive mode")

COVERS_SHOWN_INPUT = """(
    cur.track_id is null or c.input_hash = shown.input_hash or c.enqueued_at >= cur.enqueued_at
)"""
"""SQL: whether classification `c` has the input of `shown`, which `cur` points at, or is of a newer job."""

MODEL = text("""
    select id, status from model where name || ':' || version = :label
""")

LABELS = text("select name || ':' || version from model order by rank")

COVERAGE = text(f"""
    select (select count(distinct c.track_id)
            from track_current cur
            join classification shown on shown.id = cur.classification_id
            join classification c on c.track_id = cur.track_id and c.model_id = :model
            where {COVERS_SHOWN_INPUT}) as classified,
           (select count(*) from track_current) as tracks
""")  # noqa: S608 - a constant

RETIRE_CURRENT = text("update model set status = 'retired' where status = 'current'")

MAKE_CURRENT = text("""
    update model set status = 'current', rank = (select max(rank) + 1 from model), promoted_at = now()
    where id = :model
""")

MOVE_POINTERS = text(f"""
    insert into track_current (track_id, classification_id, rank, enqueued_at)
    select distinct on (c.track_id) c.track_id, c.id, m.rank, greatest(c.enqueued_at, cur.enqueued_at)
    from classification c
    join model m on m.id = c.model_id
    left join track_current cur on cur.track_id = c.track_id
    left join classification shown on shown.id = cur.classification_id
    where c.model_id = :model and m.status = 'current' and {COVERS_SHOWN_INPUT}
    order by c.track_id, c.enqueued_at desc, c.id desc
    on conflict (track_id) do update
    set classification_id = excluded.classification_id, rank = excluded.rank,
        enqueued_at = excluded.enqueued_at
    where (excluded.rank, excluded.enqueued_at) >= (track_current.rank, track_current.enqueued_at)
      and excluded.classification_id <> track_current.classification_id
""")  # noqa: S608 - a constant

# The status is checked in the update itself, because a promotion may have been committed in between.
RETIRE = text("update model set status = 'retired' where id = :model and status <> 'current'")

MODELS = text("select model, status, tracks, coverage, agreement from analytics.model order by rank desc")


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion."""

    moved: int
    """Number of tracks that now show the model's labels."""
    kept: int
    """Number of tracks that still show the labels of an older model."""


def promote(engine: Engine, label: str, min_coverage: float) -> Promotion:
    """Make a model current, and show its labels for all tracks in one transaction.

    Raises ConfigError if the model has classified the shown input of less than the share `min_coverage` of
    the classified tracks, is already current, or does not exist.
    """
    with engine.connect() as connection:
        model = _find_model(connection, label)
        classified, tracks = connection.execute(COVERAGE, {"model": model.id}).one()
    if model.status != "current" and tracks and classified / tracks < min_coverage:
        raise ConfigError(
            f"{label} has classified {classified:,} of {tracks:,} labelled tracks "
            f"({classified / tracks:.1%}), less than {min_coverage:.1%}: "
            f"run `cogenre backfill --model {label}`, or set --min-coverage"
        )
    with engine.begin() as connection:
        connection.execute(LOCK_MODELS)
        connection.execute(LOCK_WRITERS)
        if _find_model(connection, label).status != "current":
            connection.execute(RETIRE_CURRENT)
            connection.execute(MAKE_CURRENT, {"model": model.id})
            show_genres(connection, model.id)
    moved = _move_pointers(engine, model.id)
    if model.status == "current" and not moved:
        raise ConfigError(f"{label} is already the current model")
    return Promotion(moved, tracks - classified)


@tenacity.retry(
    retry=tenacity.retry_if_exception(
        lambda error: isinstance(error, OperationalError) and isinstance(error.orig, DeadlockDetected)
    ),
    stop=tenacity.stop_after_attempt(MAX_ATTEMPTS),
    reraise=True,
)
def _move_pointers(engine: Engine, model: int) -> int:
    """Move the pointers to the model's results, if it is still current. Return the number of tracks moved."""
    with engine.begin() as connection:
        connection.execute(LOCK_PROMOTIONS)
        return connection.execute(MOVE_POINTERS, {"model": model}).rowcount


def retire(engine: Engine, label: str) -> None:
    """Retire a shadow: it is no longer backfilled. Its classifications are kept.

    Raises ConfigError if the model is current or does not exist.
    """
    with engine.begin() as connection:
        model = _find_model(connection, label)
        if not connection.execute(RETIRE, {"model": model.id}).rowcount:
            raise ConfigError(f"{label} is the current model: to retire it, promote another model")


def list_models(engine: Engine) -> list[dict[str, Any]]:
    """Return the models, newest first, with coverage and agreement as of the last refresh."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(MODELS).mappings()]


def find_model_id(connection: Connection, label: str) -> int:
    """Return the key of a model. Raises ConfigError if it is retired or does not exist."""
    model = _find_model(connection, label)
    if model.status == "retired":
        raise ConfigError(f"{label} is retired: promote it, or give another model")
    return int(model.id)


def read_model_status(engine: Engine, label: str) -> str:
    """Return the status: shadow, current or retired. Raises ConfigError if the model does not exist."""
    with engine.connect() as connection:
        return str(_find_model(connection, label).status)


def _find_model(connection: Connection, label: str) -> Any:
    """Return the id and the status of a model. Raises ConfigError if it does not exist."""
    model = connection.execute(MODEL, {"label": label}).one_or_none()
    if model is None:
        registered = ", ".join(connection.execute(LABELS).scalars())
        raise ConfigError(f"the catalog has no model {label}; registered: {registered or 'none'}")
    return model
