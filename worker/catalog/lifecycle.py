"""A model's life: shadow, current, retired.

```
          promote                  another is promoted
shadow ─────────────► current ───────────────────────► retired
  │                      ▲                                │
  └──────► retired       └────────────────────────────────┘
   retire                     promote: back to it
```

A promotion moves `track_current` to what the model said of every track that it has classified. The others
keep the labels that they have, by an older model. It gives the model the highest rank: from then on its
labels, and no other model's, replace those shown.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from worker.errors import ConfigError

# Workers finish what they are committing, and begin nothing new until the promotion is through.
STOP_WRITERS = text("lock table track_current in share row exclusive mode")

MODEL = text("""
    select id, status from model where name || ':' || version = :label
""")

LABELS = text("select name || ':' || version from model order by rank")

COVERAGE = text("""
    select count(*) filter (where exists (
               select from classification c where c.track_id = t.id and c.model_id = :model
           )) as classified,
           count(*) as tracks
    from track t
    where exists (select from track_current cur where cur.track_id = t.id)
""")

RETIRE_CURRENT = text("update model set status = 'retired' where status = 'current'")

MAKE_CURRENT = text("""
    update model set status = 'current', rank = (select max(rank) + 1 from model)
    where id = :model
""")

MOVE = text("""
    insert into track_current (track_id, classification_id, rank, enqueued_at)
    select distinct on (c.track_id) c.track_id, c.id, m.rank, c.enqueued_at
    from classification c join model m on m.id = c.model_id
    where c.model_id = :model
    order by c.track_id, c.enqueued_at desc, c.id desc
    on conflict (track_id) do update
    set classification_id = excluded.classification_id, rank = excluded.rank,
        enqueued_at = excluded.enqueued_at
""")

RETIRE = text("update model set status = 'retired' where id = :model")

MODELS = text("select model, status, tracks, coverage, agreement from analytics.model order by rank desc")


@dataclass(frozen=True)
class Promotion:
    """What a promotion did."""

    moved: int
    """Tracks that show the model's labels now."""
    left: int
    """Tracks that go on showing an older model's."""


def promote(engine: Engine, label: str, least_coverage: float) -> Promotion:
    """Show a model's labels, in one transaction.

    Raises ConfigError where the model has classified less than `least_coverage` of the tracks that show
    labels, where it is current already, and where there is no such model.
    """
    with engine.begin() as connection:
        connection.execute(STOP_WRITERS)
        model = _model(connection, label)
        if model.status == "current":
            raise ConfigError(f"{label} is the current model already")
        classified, tracks = connection.execute(COVERAGE, {"model": model.id}).one()
        if tracks and classified / tracks < least_coverage:
            raise ConfigError(
                f"{label} has classified {classified:,} of {tracks:,} labelled tracks "
                f"({classified / tracks:.1%}), less than {least_coverage:.1%}: "
                f"run `cogenre backfill --model {label}`, or set --least-coverage"
            )
        connection.execute(RETIRE_CURRENT)
        connection.execute(MAKE_CURRENT, {"model": model.id})
        moved = connection.execute(MOVE, {"model": model.id}).rowcount
        return Promotion(moved, tracks - classified)


def retire(engine: Engine, label: str) -> None:
    """Let a shadow go: it is neither promoted nor backfilled. What it said is kept.

    Raises ConfigError for the current model, and where there is no such model.
    """
    with engine.begin() as connection:
        model = _model(connection, label)
        if model.status == "current":
            raise ConfigError(f"{label} is the current model: promote another, and it is retired")
        connection.execute(RETIRE, {"model": model.id})


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
