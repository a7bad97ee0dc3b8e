"""Counts for operators: `cogenre status`, gauges. Queries for analysts are in `worker.catalog.queries`."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

from schemas.catalog.tables import CLASSIFIED_HOUR

COUNTED_BELOW = 100_000
"""Number of rows from which PostgreSQL's estimate is used, because counting would take too long."""

# The condition on the full hour lets the query use the index on CLASSIFIED_HOUR.
STATE = text(f"""
    select (select case when reltuples < {COUNTED_BELOW} then (select count(*) from track) else reltuples end
            from pg_class where oid = 'track'::regclass)::bigint as registered,
           (select case when reltuples < {COUNTED_BELOW} then (select count(*) from track_current)
                        else reltuples end
            from pg_class where oid = 'track_current'::regclass)::bigint as classified,
           (select count(*) from classification
            where classified_at > now() - interval '1 minute'
              and {CLASSIFIED_HOUR} >= now() - interval '61 minutes') as last_minute,
           (select coalesce(jsonb_object_agg(error_class, failed), '{{}}')
            from (select error_class, count(*) as failed from analytics.failure group by 1) by_class
           ) as failures
""")  # noqa: S608 - constants


@dataclass(frozen=True)
class CatalogState:
    """Counts of tracks, classifications and failures."""

    registered: int
    classified: int
    """Tracks for which a result is shown. From `COUNTED_BELOW` rows on, `registered` and `classified` are
    estimates."""
    last_minute: int
    """Classifications committed in the last minute."""
    failures: dict[str, int]
    """Open failures, by error class."""


def read_catalog_state(engine: Engine) -> CatalogState:
    """Return the current counts."""
    with engine.connect() as connection:
        return CatalogState(**connection.execute(STATE).one()._asdict())
