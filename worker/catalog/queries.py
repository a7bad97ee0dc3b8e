"""The catalog in a few figures, for operators. What analysts ask is in `questions`."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

from schemas.catalog.tables import CLASSIFIED_HOUR

# The condition on the full hour is what the index is on.
STATE = text(f"""
    select (select count(*) from track) as registered,
           (select count(*) from track_current) as labelled,
           (select count(*) from classification
            where classified_at > now() - interval '1 minute'
              and {CLASSIFIED_HOUR} >= now() - interval '61 minutes') as last_minute,
           (select coalesce(jsonb_object_agg(error_class, failed), '{{}}')
            from (select error_class, count(*) as failed from analytics.failure group by 1) by_class
           ) as failures
""")  # noqa: S608 - a constant


@dataclass(frozen=True)
class CatalogState:
    registered: int
    labelled: int
    last_minute: int
    """Classifications committed in the last minute."""
    failures: dict[str, int]
    """Open ones, by the error's class."""


def state(engine: Engine) -> CatalogState:
    with engine.connect() as connection:
        return CatalogState(**connection.execute(STATE).one()._asdict())
