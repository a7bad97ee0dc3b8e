"""Connection pools to the catalog."""

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from schemas.catalog.revision import current_revision, newest_revision
from schemas.errors import ConfigError
from worker.settings import CatalogSettings

# A server that disappears without closing the connection is detected within 25 s, during a query or between
# queries.
KEPT_ALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
BOUNDED = {"options": "-c statement_timeout=30s -c lock_timeout=20s"}


def connect(settings: CatalogSettings, connections: int = 2, *, bounded: bool = False) -> Engine:
    """Return a pool of `connections`. Raises ConfigError if no server answers at COGENRE_CATALOG_URL.

    `bounded`: a statement may take at most 30 s, and wait at most 20 s for a lock.
    """
    try:
        url = make_url(settings.catalog_url.get_secret_value())
    except (ArgumentError, ValueError):
        raise ConfigError(
            "COGENRE_CATALOG_URL is not a URL: write postgresql://user:password@host:5432/database"
        ) from None
    if not url.drivername.startswith("postgres"):
        raise ConfigError(
            f"COGENRE_CATALOG_URL names {url.drivername}: the catalog needs PostgreSQL, postgresql://…"
        )
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,  # errors must not contain titles and lyrics
        connect_args={
            "connect_timeout": 5,
            "application_name": "cogenre",
            **KEPT_ALIVE,
            **(BOUNDED if bounded else {}),
        },
    )
    event.listen(engine, "connect", _set_search_path)
    try:
        engine.connect().close()
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        where = f"{url.host}:{url.port or 5432}"
        raise ConfigError(
            f"the catalog at {where} cannot be used: {reason} (check COGENRE_CATALOG_URL)"
        ) from None
    return engine


def _set_search_path(connection: Any, _: object) -> None:
    """Make names such as `model` refer to the tables. The search path of analysts starts with the views."""
    connection.execute("set search_path = public")
    connection.commit()


def connect_migrated(settings: CatalogSettings, connections: int = 2, *, bounded: bool = False) -> Engine:
    """Return a pool, as `connect` does. Raises ConfigError if the revision is not that of this release."""
    engine = connect(settings, connections, bounded=bounded)
    with engine.connect() as connection:
        revision = current_revision(connection)
    if revision != newest_revision():
        state = f"is at revision {revision}" if revision else "was never migrated"
        raise ConfigError(
            f"the catalog {state}; this release needs {newest_revision()}: run `cogenre catalog migrate`"
        )
    return engine


def open_catalog() -> Engine:
    """Return a connection pool to the migrated catalog of COGENRE_CATALOG_URL. Raises ConfigError."""
    return connect_migrated(CatalogSettings.load())
