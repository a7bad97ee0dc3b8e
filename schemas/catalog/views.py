"""The views of `analytics.sql`, brought up to date in a catalog that people are reading.

A view is replaced in place, so that grants and views built on it stay. A materialised view cannot be: it is
left alone while its definition stays the same, and dropped, with all that is built on it, when it changes.
"""

import hashlib
import re
from pathlib import Path

from sqlalchemy import Connection, text

SQL = Path(__file__).with_name("analytics.sql")
MATERIALISED = re.compile(r"create materialized view (?P<name>analytics\.\w+) as\n(?P<query>.*)", re.DOTALL)
FINGERPRINT = re.compile(r"\[[0-9a-f]{12}\]")


def statements() -> list[str]:
    """The statements of `analytics.sql`, without the comments between them."""
    source = "\n".join(line for line in SQL.read_text().splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in source.split(";\n") if statement.strip(" ;\n")]


def materialised_views() -> list[str]:
    """Their names, each after those it reads."""
    return [match["name"] for statement in statements() if (match := MATERIALISED.match(statement))]


def replace_views(connection: Connection) -> None:
    """Make the views those of this release; nothing at all is done where they are."""
    fingerprint = f"[{hashlib.sha256(SQL.read_bytes()).hexdigest()[:12]}]"
    comment = connection.scalar(text("select obj_description(to_regnamespace('analytics'))"))
    if comment and fingerprint in comment:
        return
    connection.exec_driver_sql("create schema if not exists analytics")
    for statement in statements():
        materialised = MATERIALISED.match(statement)
        if materialised is None:
            connection.exec_driver_sql(statement)
        elif not _same(connection, materialised["name"], materialised["query"]):
            connection.exec_driver_sql(f"drop materialized view if exists {materialised['name']} cascade")
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        f"comment on schema analytics is 'The catalog for analysts. Made from analytics.sql {fingerprint}'"
    )


def _same(connection: Connection, name: str, query: str) -> bool:
    """Whether the materialised view exists with this query, as the server itself spells it."""
    if connection.scalar(text("select to_regclass(:name)"), {"name": name}) is None:
        return False
    connection.exec_driver_sql(f"create temporary view wanted as {query}")
    same = connection.scalar(
        text("select pg_get_viewdef('pg_temp.wanted'::regclass) = pg_get_viewdef(cast(:name as regclass))"),
        {"name": name},
    )
    connection.exec_driver_sql("drop view pg_temp.wanted")
    return bool(same)
