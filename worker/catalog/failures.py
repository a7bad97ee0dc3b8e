"""Open failures of jobs in the catalog."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

OPEN = text("""
    select id, track_id, stage, error_class, reason, payload, failed_at
    from ingest_failure
    where resolved_at is null
      and (cast(:ids as bigint[]) is null or id = any(:ids))
      and (cast(:stage as text) is null or stage = :stage)
      and (cast(:error_class as text) is null or error_class = :error_class)
    order by id desc
    limit :limit
""")


@dataclass(frozen=True)
class OpenFailure:
    """A failure that no later job of the track has resolved."""

    id: int
    track_id: str | None
    stage: str
    error_class: str
    reason: str
    payload: str
    """The message as received, JSON."""
    failed_at: datetime


def read_open_failures(
    engine: Engine,
    ids: Sequence[int] | None = None,
    stage: str | None = None,
    error_class: str | None = None,
    limit: int | None = None,
) -> list[OpenFailure]:
    """Return the open failures that match all conditions, newest first. None = no condition."""
    chosen = {
        "ids": None if ids is None else list(ids),
        "stage": stage,
        "error_class": error_class,
        "limit": limit,
    }
    with engine.connect() as connection:
        return [OpenFailure(**row._asdict()) for row in connection.execute(OPEN, chosen)]
