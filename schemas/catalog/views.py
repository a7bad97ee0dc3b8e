"""Replace the views of `analytics.sql` in a catalog that analysts are reading.

```
changed view               ──► replaced in place; its grants and dependent views stay
changed materialised view  ──► built in another schema ──► swapped in; views that read it are created again
unchanged view             ──► left as it is
```

Locks that block readers are held only briefly (`schemas.catalog.migrations.online`). To swap a view, the old
one is dropped. If other people have created views on it, nothing is swapped, and the error names those views.
"""

import hashlib
import re
from pathlib import Path

from sqlalchemy import Connection, text

from schemas.catalog.migrations.online import execute_with_lock_timeout
from schemas.errors import ContractError

SQL = Path(__file__).with_name("analytics.sql")
VIEW = re.compile(
    r"create (?P<kind>or replace view|materialized view) (?P<name>analytics\.\w+) as\n(?P<query>.*)",
    re.DOTALL,
)
NAME = re.compile(r"\banalytics\.\w+")
FINGERPRINT = re.compile(r"\[[0-9a-f]{12}\]")
BUILDING = "analytics_next"
"""Schema in which materialised views are built. Only its owner may read it."""

DEPENDENT_VIEWS = text("""
    select distinct built.oid::regclass::text
    from pg_depend d
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    join pg_class built on built.oid = r.ev_class
    where d.refclassid = 'pg_class'::regclass
      and d.refobjid in (select to_regclass(name) from unnest(cast(:dropped as text[])) as name)
      and built.relnamespace <> to_regnamespace(:building)
      and not exists (
          select from unnest(cast(:ours as text[])) as name where to_regclass(name) = built.oid
      )
    order by 1
""")

GRANTS = text("""
    select format('grant %s on %s to %s', privilege_type, name,
                  case grantee when 0 then 'public' else grantee::regrole::text end)
    from unnest(cast(:dropped as text[])) as name
    join pg_class c on c.oid = to_regclass(name)
    cross join aclexplode(c.relacl)
    where grantee <> c.relowner
""")


class ViewsInUse(ContractError):
    """Views that other people created depend on views that must be replaced."""


def read_statements() -> list[str]:
    """Return the statements of `analytics.sql`, without the comment lines."""
    source = "\n".join(line for line in SQL.read_text().splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in source.split(";\n") if statement.strip(" ;\n")]


def materialised_views() -> list[str]:
    """Return the names of the materialised views, each after the views that it reads."""
    matches = (VIEW.match(statement) for statement in read_statements())
    return [view["name"] for view in matches if view and view["kind"] == "materialized view"]


def replace_views(connection: Connection) -> None:
    """Create or replace the views of this release. Does nothing if the schema was made from this file.

    `connection` must be in autocommit mode. Raises ViewsInUse.
    """
    fingerprint = f"[{hashlib.sha256(SQL.read_bytes()).hexdigest()[:12]}]"
    comment = connection.scalar(text("select obj_description(to_regnamespace('analytics'))"))
    if comment and fingerprint in comment:
        return
    execute_with_lock_timeout("create schema if not exists analytics", connection)
    # The schema exists if a previous run was interrupted.
    execute_with_lock_timeout(
        f"drop schema if exists {BUILDING} cascade; create schema {BUILDING}", connection
    )
    built: list[str] = []
    """Materialised views built in `BUILDING`, to be swapped in."""
    dependent: list[str] = []
    """Views of this file that read them."""
    after_swap: list[str] = []
    """Statements to run together with the swap."""
    for statement in read_statements():
        name = NAME.findall(statement)[0]
        view = VIEW.match(statement)
        if view is None:
            if name in built and not statement.startswith("comment"):
                _build(connection, statement, built)
            elif name in built or name in dependent:
                after_swap.append(statement)
            else:
                execute_with_lock_timeout(statement, connection)
            continue
        reads = set(NAME.findall(view["query"]))
        reads_built = not reads.isdisjoint(built + dependent)
        if not reads_built and _is_unchanged(connection, name, view["query"]):
            continue
        if view["kind"] == "materialized view":
            built.append(name)
            _build(connection, statement, built)
        elif reads_built:
            dependent.append(name)
            after_swap.append(statement)
        else:
            execute_with_lock_timeout(statement, connection)
    _swap(connection, built, dependent, after_swap)
    execute_with_lock_timeout(
        f"drop schema {BUILDING}; "
        f"comment on schema analytics is 'The catalog for analysts. Made from analytics.sql {fingerprint}'",
        connection,
    )


def _build(connection: Connection, statement: str, built: list[str]) -> None:
    """Run a statement in which the views of `built` are those in the schema `BUILDING`."""
    connection.exec_driver_sql(
        NAME.sub(lambda match: _building_name(match[0]) if match[0] in built else match[0], statement)
    )


def _building_name(name: str) -> str:
    """Return the name in the schema `BUILDING` of a view `analytics.…`."""
    return f"{BUILDING}.{name.partition('.')[2]}"


def _swap(connection: Connection, built: list[str], dependent: list[str], after_swap: list[str]) -> None:
    """Replace the views of `built` and `dependent` in one transaction, and repeat the grants on them."""
    if not built:
        return
    dropped = {"dropped": [*built, *dependent]}
    ours = [view["name"] for statement in read_statements() if (view := VIEW.match(statement))]
    others = list(
        connection.execute(DEPENDENT_VIEWS, {**dropped, "ours": ours, "building": BUILDING}).scalars()
    )
    if others:
        raise ViewsInUse(
            f"{', '.join(others)}: built on {', '.join(built)}, which this release replaces: drop them, "
            "run `cogenre catalog migrate` again, then create them again"
        )
    grants = list(connection.execute(GRANTS, dropped).scalars())
    drop = [f"drop view if exists {', '.join(dependent)}"] if dependent else []
    drop += [f"drop materialized view if exists {', '.join(built)}"]
    move = [f"alter materialized view {_building_name(name)} set schema analytics" for name in built]
    execute_with_lock_timeout("; ".join([*drop, *move, *after_swap, *grants]), connection)


def _is_unchanged(connection: Connection, name: str, query: str) -> bool:
    """Return whether the view exists with this query, compared in the server's own spelling."""
    if connection.scalar(text("select to_regclass(:name)"), {"name": name}) is None:
        return False
    connection.exec_driver_sql(f"create temporary view new_view as {query}")
    same = connection.scalar(
        text("select pg_get_viewdef('pg_temp.new_view'::regclass) = pg_get_viewdef(cast(:name as regclass))"),
        {"name": name},
    )
    connection.exec_driver_sql("drop view pg_temp.new_view")
    return bool(same)
