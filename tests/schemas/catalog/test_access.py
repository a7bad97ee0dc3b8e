"""Attempts of each database group to do what it may not do."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import InternalError, ProgrammingError

from schemas.catalog.access import Group, grant
from schemas.catalog.migrate import migrate
from tests.worker.catalog.labels import manifest, model, read_labels, rows
from worker.catalog.lifecycle import promote
from worker.catalog.models import register_model

Login = Callable[[Group], Engine]


@pytest.fixture
def login(catalog: Engine) -> Iterator[Login]:
    """Creates a login in the group and connects as it."""
    made: list[tuple[str, Engine]] = []

    def make(group: Group) -> Engine:
        name = f"{group}_{uuid.uuid4().hex}"
        with catalog.begin() as connection:
            connection.execute(text(f"create role {name} login"))
        with catalog.connect() as connection:
            grant(connection, group, name)
        engine = create_engine(catalog.url.set(username=name))
        made.append((name, engine))
        return engine

    yield make
    for name, engine in made:
        engine.dispose()
        with catalog.begin() as connection:
            connection.execute(text(f"drop owned by {name}; drop role {name}"))


def attempt(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_an_analyst_reads_the_views_without_naming_the_schema(catalog: Engine, login: Login) -> None:
    model(catalog).label("t1", rock=0.9)
    assert rows(login("analyst"), "select track_id, genre from track_label") == [("t1", "rock")]


def test_an_analyst_reads_every_view(catalog: Engine, login: Login) -> None:
    analyst = login("analyst")
    views = rows(
        catalog,
        "select relname from pg_class "
        "where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm')",
    )
    assert len(views) > 15
    for (view,) in views:
        rows(analyst, f"select * from {view}")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from public.track",
        "select job from public.track",
        "select payload from public.ingest_failure",
        "select embedding from public.classification",
        "select * from public.feedback",
    ],
)
def test_an_analyst_does_not_see_the_tables(login: Login, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        attempt(login("analyst"), statement)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.track (id, job, enqueued_at) values ('x', '{}', now())",
        "update analytics.failure set reason = 'mine'",
        "delete from analytics.failure",
        "create table analytics.mine (a int)",
        "create table public.mine (a int)",
        "create view analytics.mine as select 1 as one",
        "refresh materialized view analytics.genre_week",
        "drop view analytics.track_label",
        "truncate public.track",
        "grant cogenre_writer to current_user",
    ],
)
def test_an_analyst_cannot_change_anything_in_a_writing_transaction(login: Login, statement: str) -> None:
    with pytest.raises((ProgrammingError, InternalError), match=r"permission denied|must be owner|cannot"):
        attempt(login("analyst"), f"set transaction read write; {statement}")


def test_an_analysts_statement_ends_in_time(login: Login) -> None:
    analyst = login("analyst")
    assert rows(analyst, "show statement_timeout") == [("1min",)]
    assert rows(analyst, "show default_transaction_read_only") == [("on",)]


def test_a_writer_may_do_what_a_worker_and_an_operator_do(catalog: Engine, login: Login) -> None:
    writer = login("writer")
    model(writer).label("t1", rock=0.9)
    model(writer, "2").label("t1", jazz=0.9)
    promote(writer, "small:2", min_coverage=1)
    assert read_labels(writer, "t1") == {"jazz"}
    register_model(writer, manifest("3", ("rock", "polka")), "3" * 64)


@pytest.mark.parametrize(
    "statement",
    [
        "alter table track add column mine text",
        "create table mine (a int)",
        "create index on track (title)",
        "drop table feedback",
        "truncate track_genre",
        "delete from track",
        "delete from classification",
        "delete from feedback",
        "drop view analytics.track_label",
        "create or replace view analytics.track_label as select 1 as one",
        "update alembic_version set version_num = '0001'",
        "alter function follow_track_current() rename to mine",
        "alter table track_current disable trigger follow_update",
    ],
)
def test_a_writer_cannot_change_the_schema_or_delete_rows_of_tracks(login: Login, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        attempt(login("writer"), statement)


def test_an_owner_without_the_right_to_create_roles_gets_a_remedy(stack: object, catalog: Engine) -> None:
    """If another database's migration has created the groups, nothing is left to do."""
    name = f"owner_{uuid.uuid4().hex}"
    with catalog.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.execute(text(f"create role {name} login"))
        admin.execute(text(f"create database {name} owner {name}"))
        owner = create_engine(catalog.url.set(username=name, database=name))
        try:
            assert migrate(owner).notes == ()
            admin.execute(text("alter role cogenre_analyst rename to another"))
            (note,) = migrate(owner).notes
            assert "create role cogenre_analyst nologin" in note
        finally:
            admin.execute(text("alter role another rename to cogenre_analyst"))
            owner.dispose()
            admin.execute(text(f"drop database {name} with (force)"))
            admin.execute(text(f"drop role {name}"))
