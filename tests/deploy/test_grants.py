"""The SQL grants in docs/security.md are the grants in the catalog."""

import re

from sqlalchemy import Engine, text

from schemas.catalog.access import ROLES
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| ([a-z, ]+) \|$", re.MULTILINE)

# Not information_schema, which does not list materialised views.
GRANTED = text("""
    select r.rolname, n.nspname, c.relname, lower(a.privilege_type) as privilege
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join lateral aclexplode(c.relacl) a
    join pg_roles r on r.oid = a.grantee
    where r.rolname = any(:roles)
""")

RELATIONS = text("""
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('analytics', 'public') and c.relkind in ('r', 'v', 'm')
""")


def test_the_page_lists_exactly_the_grants(catalog: Engine) -> None:
    with catalog.connect() as connection:
        granted = {tuple(row) for row in connection.execute(GRANTED, {"roles": list(ROLES.values())})}
        relations = {tuple(row) for row in connection.execute(RELATIONS)}
    views = {name for schema, name in relations if schema == "analytics"}
    tables = {name for schema, name in relations if schema == "public"}
    documented = set()
    for role, on, privileges in ROW.findall(PAGE):
        match on:
            case "every view of `analytics`":
                named = {("analytics", view) for view in views}
            case "every other table":
                named = {("public", table) for table in tables - {"alembic_version"}}
            case _:
                named = {("public", on.strip("`"))}
        documented |= {
            (role, schema, relation, privilege)
            for schema, relation in named
            for privilege in privileges.split(", ")
        }
    assert len(views) > 15
    assert documented == granted
