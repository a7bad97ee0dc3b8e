"""A model's life: shadow, current, retired.

```
          promote                  another is promoted
shadow ─────────────► current ───────────────────────► retired
  │                      ▲                                │
  └──────► retired       └────────────────────────────────┘
   retire                     promote: back to it
```

A promotion gives the model the highest rank: from then on its labels, and no other model's, replace those
shown. Writers wait for that moment only. Then, in one transaction and beside the writers, it moves
`track_current` to what the model said of every track. A track whose newest input it has not seen keeps the
labels of the older model. What was broken off in between is taken up by another promotion of the same model.
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
"""How often the move is tried: it deadlocks with a worker that says once more of a track what it said."""

# No other model is registered, promoted or retired meanwhile: it would want the same rank or place.
LOCK_MODELS = text("lock table model in share row exclusive mode")

# Workers finish what they are committing; what they begin after the commit sees the other current model.
STOP_WRITERS = text("lock table track_current in share row exclusive mode")

# While the labels move, and as long as no other promotion may begin. Workers go on.
LOCK_PROMOTIONS = text("lock table model in share update exclusive mode")

COVERS_SHOWN_INPUT = """(
    cur.track_id is null or c.input_hash = shown.input_hash or c.enqueued_at >= cur.enqueued_at
)"""
"""Whether a classification `c` is of the input of `shown`, which `cur` points at, or of a newer job."""

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

MOVE = text(f"""
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

# Asked of the row as it is when it is written: a promotion may have come in between.
RETIRE = text("update model set status = 'retired' where id = :model and status <> 'current'")

MODELS = text("select model, status, tracks, coverage, agreement from analytics.model order by rank desc")


@dataclass(frozen=True)
class Promotion:
    """The outcome of a promotion."""

    moved: int
    """Number of tracks that now show the model's labels."""
    kept: int
    """Number of tracks that still show the labels of an older model."""


def promote(engine: Engine, label: str, least_coverage: float) -> Promotion:
    """Show a model's labels, all at once.

    Raises ConfigError where the model has not classified what is shown of at least the share `least_coverage`
    of the labelled tracks, where it is current already, and where there is no such model.
    """
    with engine.connect() as connection:
        model = _model(connection, label)
        classified, tracks = connection.execute(COVERAGE, {"model": model.id}).one()
    if model.status != "current" and tracks and classified / tracks < least_coverage:
        raise ConfigError(
            f"{label} has classified {classified:,} of {tracks:,} labelled tracks "
            f"({classified / tracks:.1%}), less than {least_coverage:.1%}: "
            f"run `cogenre backfill --model {label}`, or set --least-coverage"
        )
    with engine.begin() as connection:
        connection.execute(LOCK_MODELS)
        connection.execute(STOP_WRITERS)
        if _model(connection, label).status != "current":
            connection.execute(RETIRE_CURRENT)
            connection.execute(MAKE_CURRENT, {"model": model.id})
            show_genres(connection, model.id)
    moved = _move(engine, model.id)
    if model.status == "current" and not moved:
        raise ConfigError(f"{label} is the current model already")
    return Promotion(moved, tracks - classified)


@tenacity.retry(
    retry=tenacity.retry_if_exception(
        lambda error: isinstance(error, OperationalError) and isinstance(error.orig, DeadlockDetected)
    ),
    stop=tenacity.stop_after_attempt(MAX_ATTEMPTS),
    reraise=True,
)
def _move(engine: Engine, model: int) -> int:
    """Point at what the current model said; nothing where another has become it. Returns the tracks moved."""
    with engine.begin() as connection:
        connection.execute(LOCK_PROMOTIONS)
        return connection.execute(MOVE, {"model": model}).rowcount


def retire(engine: Engine, label: str) -> None:
    """Let a shadow go: it is neither promoted nor backfilled. What it said is kept.

    Raises ConfigError for the current model, and where there is no such model.
    """
    with engine.begin() as connection:
        model = _model(connection, label)
        if not connection.execute(RETIRE, {"model": model.id}).rowcount:
            raise ConfigError(f"{label} is the current model: promote another, and it is retired")


def models(engine: Engine) -> list[dict[str, Any]]:
    """The models, the newest first, with coverage and agreement as of the last refresh."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(MODELS).mappings()]


def model_id(connection: Connection, label: str) -> int:
    """The key of a model that is not retired. Raises ConfigError where it is, or is not known."""
    model = _model(connection, label)
    if model.status == "retired":
        raise ConfigError(f"{label} is retired: promote it, or name another model")
    return int(model.id)


def status(engine: Engine, label: str) -> str:
    """shadow, current or retired. Raises ConfigError where there is no such model."""
    with engine.connect() as connection:
        return str(_model(connection, label).status)


def _model(connection: Connection, label: str) -> Any:
    model = connection.execute(MODEL, {"label": label}).one_or_none()
    if model is None:
        known = ", ".join(connection.execute(LABELS).scalars())
        raise ConfigError(f"the catalog knows no model {label}; known: {known or 'none yet'}")
    return model
