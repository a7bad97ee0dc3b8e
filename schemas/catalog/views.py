"""The views of `analytics.sql`, brought up to date in a catalog that people are reading.

```
a view               ──► replaced in place: grants, and what people built on it, stay
a materialised view  ──► built in another schema ──► swapped, and the views that read it made anew
what is the same     ──► left alone
```

Whatever takes a lock that stops readers takes it for a moment, and not before it can be had. What people
built on a view that is swapped would go with it: nothing is swapped then, and an error names it.
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
"""Where materialised views are built. Nobody but the owner may look into it."""

FOREIGN = text("""
    select distinct built.oid::regclass::text
    from pg_depend d
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    join pg_class built on built.oid = r.ev_class
    where d.refclassid = 'pg_class'::regclass
      and d.refobjid in (select to_regclass(name) from unnest(cast(:going as text[])) as name)
      and built.relnamespace <> to_regnamespace(:building)
      and not exists (
          select from unnest(cast(:ours as text[])) as name where to_regclass(name) = built.oid
      )
    order by 1
""")

GRANTS = text("""
    select format('grant %s on %s to %s', privilege_type, name,
                  case grantee when 0 then 'public' else grantee::regrole::text end)
    from unnest(cast(:going as text[])) as name
    join pg_class c on c.oid = to_regclass(name)
    cross join aclexplode(c.relacl)
    where grantee <> c.relowner
""")


class ViewsInUse(ContractError):
    """People built views on those that have to change."""


def statements() -> list[str]:
    """The statements of `analytics.sql`, without the comments between them."""
    source = "\n".join(line for line in SQL.read_text().splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in source.split(";\n") if statement.strip(" ;\n")]


def materialised_views() -> list[str]:
    """Their names, each after those it reads."""
    made = (VIEW.match(statement) for statement in statements())
    return [view["name"] for view in made if view and view["kind"] == "materialized view"]


def replace_views(connection: Connection) -> None:
    """Make the views those of this release; nothing at all is done where they are.

    `connection` commits by itself. Raises ViewsInUse.
    """
    fingerprint = f"[{hashlib.sha256(SQL.read_bytes()).hexdigest()[:12]}]"
    comment = connection.scalar(text("select obj_description(to_regnamespace('analytics'))"))
    if comment and fingerprint in comment:
        return
    execute_with_lock_timeout("create schema if not exists analytics", connection)
    # An interrupted run may have left it.
    execute_with_lock_timeout(
        f"drop schema if exists {BUILDING} cascade; create schema {BUILDING}", connection
    )
    built: list[str] = []
    """Materialised views that are to be swapped."""
    above: list[str] = []
    """Views that read them."""
    last: list[str] = []
    """What waits for the swap."""
    for statement in statements():
        name = NAME.findall(statement)[0]
        view = VIEW.match(statement)
        if view is None:
            if name in built and not statement.startswith("comment"):
                _build(connection, statement, built)
            elif name in built or name in above:
                last.append(statement)
            else:
                execute_with_lock_timeout(statement, connection)
            continue
        reads = set(NAME.findall(view["query"]))
        reads_built = not reads.isdisjoint(built + above)
        if not reads_built and _same(connection, name, view["query"]):
            continue
        if view["kind"] == "materialized view":
            built.append(name)
            _build(connection, statement, built)
        elif reads_built:
            above.append(name)
            last.append(statement)
        else:
            execute_with_lock_timeout(statement, connection)
    _swap(connection, built, above, last)
    execute_with_lock_timeout(
        f"drop schema {BUILDING}; "
        f"comment on schema analytics is 'The catalog for analysts. Made from analytics.sql {fingerprint}'",
        connection,
    )


def _build(connection: Connection, statement: str, built: list[str]) -> None:
    """Run it in the other schema, with those that are there already."""
    connection.exec_driver_sql(
        NAME.sub(lambda found: _aside(found[0]) if found[0] in built else found[0], statement)
    )


def _aside(name: str) -> str:
    return f"{BUILDING}.{name.partition('.')[2]}"


def _swap(connection: Connection, built: list[str], above: list[str], last: list[str]) -> None:
    if not built:
        return
    going = {"going": [*built, *above]}
    ours = [view["name"] for statement in statements() if (view := VIEW.match(statement))]
    foreign = list(connection.execute(FOREIGN, {**going, "ours": ours, "building": BUILDING}).scalars())
    if foreign:
        raise ViewsInUse(
            f"{', '.join(foreign)}: built on {', '.join(built)}, which this release makes anew: drop them, "
            "run `cogenre catalog migrate` again, and create them anew"
        )
    grants = list(connection.execute(GRANTS, going).scalars())
    drop = [f"drop view if exists {', '.join(above)}"] if above else []
    drop += [f"drop materialized view if exists {', '.join(built)}"]
    move = [f"alter materialized view {_aside(name)} set schema analytics" for name in built]
    execute_with_lock_timeout("; ".join([*drop, *move, *last, *grants]), connection)


def _same(connection: Connection, name: str, query: str) -> bool:
    """Whether the view exists with this query, as the server itself spells it."""
    if connection.scalar(text("select to_regclass(:name)"), {"name": name}) is None:
        return False
    connection.exec_driver_sql(f"create temporary view wanted as {query}")
    same = connection.scalar(
        text("select pg_get_viewdef('pg_temp.wanted'::regclass) = pg_get_viewdef(cast(:name as regclass))"),
        {"name": name},
    )
    connection.exec_driver_sql("drop view pg_temp.wanted")
    return bool(same)
