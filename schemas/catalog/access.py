"""Database privileges: two group roles, which operators grant to the logins of people and workers.

| group | may | may not |
|---|---|---|
| `cogenre_analyst` | read schema `analytics` and the catalog's revision | read the tables, write |
| `cogenre_writer` | read all, insert and update rows, delete labels | change the schema, delete tracks |

The login that runs `cogenre catalog migrate` owns everything.

The limits of analysts stop accidents, not attacks: a login can lift them for its own session, and any login
can hold the advisory lock that a refresh needs. Writers may do what workers and operators do: register,
promote and retire models, and replace labels.
"""

from typing import Literal

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from schemas.catalog.tables import Base, TrackGenre

Group = Literal["analyst", "writer"]

ROLES: dict[Group, str] = {"analyst": "cogenre_analyst", "writer": "cogenre_writer"}

ANALYST_SETTINGS = {
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "10min",
    "default_transaction_read_only": "on",
    "search_path": "analytics, public",
}
"""Set for each analyst's login, because members of a group do not inherit its settings. The timeouts limit
the age of a snapshot, because an old snapshot keeps vacuum from removing dead rows."""

# Roles belong to the whole cluster: the migration of another database may create one at the same time.
CREATE = """
do $$ begin
    if not exists (select from pg_roles where rolname = '{role}') then create role {role} nologin; end if;
exception when duplicate_object or unique_violation then null;
end $$
"""

TABLES = ", ".join(f"public.{table.name}" for table in Base.metadata.sorted_tables)

GRANTS = f"""
grant usage on schema analytics to cogenre_analyst, cogenre_writer;
grant select on all tables in schema analytics to cogenre_analyst, cogenre_writer;
alter default privileges in schema analytics grant select on tables to cogenre_analyst, cogenre_writer;
grant usage on schema public to cogenre_writer;
grant select on public.alembic_version to cogenre_analyst, cogenre_writer;
grant select, insert, update on {TABLES} to cogenre_writer;
grant delete on public.{TrackGenre.__tablename__} to cogenre_writer;
"""


def grant_groups(connection: Connection) -> tuple[str, ...]:
    """Create the groups and grant their privileges.

    Returns no notes, or one note with the remedy if the login may not create roles.
    """
    for role in ROLES.values():
        try:
            with connection.begin():
                connection.exec_driver_sql(CREATE.format(role=role))
        except ProgrammingError:
            return (
                f"this login may not create the role {role}: have an administrator run "
                f"`create role {role} nologin` "
                "for each of " + ", ".join(ROLES.values()) + ", then run `cogenre catalog migrate` again",
            )
    with connection.begin():
        connection.exec_driver_sql(GRANTS)
    return ()


def grant(connection: Connection, group: Group, login: str) -> None:
    """Make `login` a member of a group. An analyst's login also gets `ANALYST_SETTINGS`."""
    quote = connection.dialect.identifier_preparer.quote
    with connection.begin():
        connection.exec_driver_sql(f"grant {ROLES[group]} to {quote(login)}")
        if group == "analyst":
            database = quote(str(connection.scalar(text("select current_database()"))))
            for name, value in ANALYST_SETTINGS.items():
                setting = value if name == "search_path" else f"'{value}'"
                connection.exec_driver_sql(
                    f"alter role {quote(login)} in database {database} set {name} = {setting}"
                )
