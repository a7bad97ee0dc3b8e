"""The catalog's schema: every revision to every other, empty and with rows, while workers write.

`next_release` adds a revision after the newest, `example_revision.py`, so that the rules of
`schemas.catalog.migrations.online` are tested: the next revision needs them.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError

from schemas.catalog import migrate as migrate_module
from schemas.catalog import revision as revision_module
from schemas.catalog.migrate import alembic_config, downgrade, find_differences, migrate
from schemas.catalog.revision import current_revision, newest_revision
from tests.worker.catalog.labels import model, read_labels, rows
from tests.worker.processes import wait_until

RELEASED = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][
    ::-1
]
NEWEST = RELEASED[-1]
EXAMPLE = Path(__file__).with_name("example_revision.py")
NEXT = f"{int(NEWEST) + 1:04}"
REVISIONS = [*RELEASED, NEXT]

# As a worker of this release writes a label, and moves the pointer after it.
WRITE_CLASSIFICATION = """
with new_track as (
    insert into track (id, job, enqueued_at) values (:track, '{}', now())
    on conflict (id) do update set enqueued_at = now() returning id
), new_classification as (
    insert into classification (track_id, model_id, input_hash, scores, embedding, provider, precision,
                                track_seconds, analysed_seconds, lyrics, timings, enqueued_at)
    select id, (select min(id) from model), '\\x00', '{0.9}', '{1}', 'cpu', 'fp32', 1, 1, 'used', '{}', now()
    from new_track
    on conflict (track_id, model_id, input_hash) do update set classified_at = now() returning id
)
select id from new_classification
"""
WRITE_LABELS = """
insert into track_genre (classification_id, genre_id, score, genre, current)
select :classification, id, 0.9, slug,
       exists (select from track_current where classification_id = :classification)
from genre where slug in ('rock', 'pop')
"""
WRITE_POINTER = """
insert into track_current (track_id, classification_id, rank, enqueued_at)
values (:track, :classification, 1, now())
on conflict (track_id) do update set classification_id = excluded.classification_id,
    enqueued_at = excluded.enqueued_at
"""
MODEL = """
insert into genre (slug, name) values ('rock', 'Rock'), ('pop', 'Pop');
insert into model (name, version, rank, artefact_sha256, status, genre_ids, promoted_at)
values ('small', '1', 1, '', 'current', '{1}', now());
"""


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The migrations of a next release: those of this one and `example_revision.py`."""
    versions = tmp_path / "migrations" / "versions"
    shutil.copytree(revision_module.VERSIONS.parent, versions.parent)
    example = EXAMPLE.read_text().replace("{NEWEST}", NEWEST).replace("{NEXT}", NEXT)
    (versions / f"{NEXT}_example.py").write_text(example)
    for module in (migrate_module, revision_module):
        monkeypatch.setattr(module, "VERSIONS", versions)


@pytest.fixture
def empty(catalog: Engine) -> Iterator[Engine]:
    """A database without a catalog."""
    with catalog.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("create database nothing"))
    engine = create_engine(make_url(catalog.url).set(database="nothing"))
    yield engine
    engine.dispose()
    with catalog.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("drop database nothing with (force)"))


def upgrade(engine: Engine, revision: str) -> None:
    with engine.connect() as connection:
        command.upgrade(alembic_config(connection), revision)
        connection.commit()


def write_as_this_release(engine: Engine, track: str) -> None:
    with engine.begin() as connection:
        classification = connection.scalar(text(WRITE_CLASSIFICATION), {"track": track})
        values = {"track": track, "classification": classification}
        connection.execute(text("delete from track_genre where classification_id = :classification"), values)
        connection.execute(text(WRITE_LABELS), values)
        connection.execute(text(WRITE_POINTER), values)


def shape(engine: Engine) -> dict[str, list[Any]]:
    """Columns, constraints and indexes of the tables, as the server spells them."""
    return {
        "columns": rows(
            engine,
            "select table_name, column_name, data_type, is_nullable, column_default "
            "from information_schema.columns where table_schema = 'public' order by 1, 2",
        ),
        "constraints": rows(
            engine,
            "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint "
            "where connamespace = 'public'::regnamespace order by 1, 2",
        ),
        "indexes": rows(engine, "select indexdef from pg_indexes where schemaname = 'public' order by 1"),
        "triggers": rows(engine, "select tgname from pg_trigger where not tgisinternal order by 1"),
        "functions": rows(
            engine, "select proname from pg_proc where pronamespace = 'public'::regnamespace order by 1"
        ),
    }


def test_the_tables_are_those_of_the_models(catalog: Engine) -> None:
    with catalog.connect() as connection:
        assert find_differences(connection) == []


def test_the_newest_revision_is_alembics_head() -> None:
    assert newest_revision() == ScriptDirectory.from_config(alembic_config()).get_current_head()


def test_migrating_again_changes_nothing_and_locks_no_view(catalog: Engine) -> None:
    with catalog.connect() as reader:
        reader.execute(text("select * from analytics.track_label"))  # holds its lock until the end
        done = threading.Thread(target=migrate, args=(catalog,))
        done.start()
        done.join(10)
        assert not done.is_alive()


@pytest.mark.parametrize("revision", RELEASED)
def test_an_empty_catalog_is_downgraded_and_migrated_again(empty: Engine, revision: str) -> None:
    check_both_directions(empty, revision)


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_empty_catalog_of_the_next_release_is_downgraded_and_migrated_again(
    empty: Engine, next_release: None, revision: str
) -> None:
    check_both_directions(empty, revision)


def check_both_directions(empty: Engine, revision: str) -> None:
    upgrade(empty, revision)
    before = shape(empty)
    assert migrate(empty).before == revision
    newest = shape(empty)
    downgrade(empty, revision)
    assert shape(empty) == before
    migrate(empty)
    assert shape(empty) == newest
    downgrade(empty, "base")
    assert rows(empty, "select tablename from pg_tables where schemaname = 'public'") == [
        ("alembic_version",)
    ]
    assert rows(empty, "select proname from pg_proc where pronamespace = 'public'::regnamespace") == []
    assert migrate(empty).before is None


@pytest.mark.parametrize("revision", RELEASED)
def test_a_catalog_with_rows_has_its_views_after_a_downgrade(catalog: Engine, revision: str) -> None:
    check_views_after_a_downgrade(catalog, revision)


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_catalog_of_the_next_release_has_its_views_after_a_downgrade(
    catalog: Engine, next_release: None, revision: str
) -> None:
    migrate(catalog)
    check_views_after_a_downgrade(catalog, revision)


def check_views_after_a_downgrade(catalog: Engine, revision: str) -> None:
    model(catalog).label("t1", rock=0.9)
    views = (
        "select relname from pg_class "
        "where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm') order by 1"
    )
    before = rows(catalog, views)
    downgrade(catalog, revision)
    migrate(catalog)
    assert rows(catalog, views) == before
    assert read_labels(catalog, "t1") == {"rock"}
    assert rows(catalog, "select status from model where promoted_at is not null") == [("current",)]


def test_a_reader_delays_the_migration_but_no_writer(catalog: Engine, next_release: None) -> None:
    labelling = model(catalog)
    with ThreadPoolExecutor() as pool:
        with catalog.connect() as reader:
            reader.execute(text("select from classification"))  # holds its lock until the end
            migrated = pool.submit(migrate, catalog)
            tried = "select from pg_locks where not granted and relation = 'classification'::regclass"
            wait_until(lambda: rows(catalog, tried) != [])
            for at in range(5):
                write_as_this_release(catalog, f"t{at}")
            assert not migrated.done()
        assert migrated.result().after == NEXT
    labelling.label("t1", rock=0.9)
    assert rows(catalog, "select count(*) from track_current") == [(5,)]


def test_a_downgrade_leaves_no_row_that_the_older_release_refuses(
    catalog: Engine, next_release: None
) -> None:
    labelling = model(catalog)
    migrate(catalog)
    for at in range(3):
        labelling.label(f"t{at}", rock=0.9)
    with catalog.begin() as connection:
        connection.execute(text("update classification set lyrics = 'translated' where track_id <> 't1'"))
    written = threading.Event()
    refused: list[Exception] = []

    def write() -> None:
        """Write as a worker of the next release until the database refuses the value."""
        while not refused:
            try:
                with catalog.begin() as connection:
                    connection.execute(text("update classification set lyrics = 'translated'"))
                written.set()
            except IntegrityError as error:
                refused.append(error)
            except OperationalError:  # deadlocked with the migration
                pass

    with ThreadPoolExecutor() as pool:
        worker = pool.submit(write)
        written.wait()
        downgrade(catalog, NEWEST)
        worker.result()
    assert rows(catalog, "select distinct lyrics from classification") == [("absent",)]


def test_rows_of_the_previous_release_are_filled(empty: Engine, next_release: None) -> None:
    upgrade(empty, NEWEST)
    with empty.begin() as connection:
        connection.execute(text(MODEL.replace("{1}", "{1,2}")))
    for at in range(20):
        write_as_this_release(empty, f"t{at}")
    with empty.begin() as connection:
        connection.execute(text("delete from track_current where track_id = 't0'"))
    migrate(empty)
    assert rows(empty, "select distinct percent from track_genre") == [(90,)]
    assert read_labels(empty, "t1") == {"rock", "pop"}
    assert read_labels(empty, "t0") == set()
    assert rows(empty, "select genre from analytics.genre where tracks = 19 order by 1") == [
        ("pop",),
        ("rock",),
    ]
    downgrade(empty, NEWEST)
    assert rows(empty, "select count(*) from track_genre") == [(40,)]
    migrate(empty)
    assert read_labels(empty, "t1") == {"rock", "pop"}


def test_workers_of_the_previous_release_write_during_a_migration(empty: Engine, next_release: None) -> None:
    upgrade(empty, NEWEST)
    with empty.begin() as connection:
        connection.execute(text(MODEL))
    for at in range(300):
        write_as_this_release(empty, f"t{at}")
    stop = threading.Event()
    errors: list[Exception] = []
    written: list[list[str]] = [[], []]

    def work(own: list[str]) -> None:
        at = 0
        while not stop.is_set():
            try:
                # New tracks and, by both workers, old ones again.
                write_as_this_release(empty, f"t{at * 7 % 300}")
                write_as_this_release(empty, f"new{id(own)}-{at}")
                own.append(f"new{id(own)}-{at}")
            except Exception as error:
                errors.append(error)
            at += 1

    workers = [threading.Thread(target=work, args=(own,)) for own in written]
    for worker in workers:
        worker.start()
    time.sleep(0.2)
    migrate(empty)
    counts = [len(own) for own in written]
    time.sleep(0.2)
    downgrade(empty, NEWEST)
    migrate(empty)
    stop.set()
    for worker in workers:
        worker.join()
    assert errors == []
    assert all(len(own) > count > 0 for own, count in zip(written, counts, strict=True)), (
        "they wrote throughout"
    )
    wrong = rows(
        empty,
        "select l.* from track_genre l left join track_current t using (classification_id) "
        "where l.current <> (t.track_id is not null) or l.percent <> 90 "
        "or l.genre <> (select slug from genre where id = l.genre_id)",
    )
    assert wrong == []
    assert rows(empty, "select count(distinct track_id) from analytics.track_label") == [
        (300 + sum(map(len, written)),)
    ]


def test_a_view_whose_column_changes_its_type_is_created_again(empty: Engine, next_release: None) -> None:
    migrate(empty)
    downgrade(empty, NEWEST)
    with empty.begin() as connection:
        connection.execute(text("create schema analytics"))
        connection.execute(
            text("""
                create view analytics.throughput_hour as
                select date_bin('1 hour', classified_at, '2000-01-01Z') as hour, provider as model,
                       1::bigint as tracks, 1::float8 as analysed_hours, 1::numeric as mean_wait_seconds
                from classification
            """)
        )
    migrate(empty)
    assert rows(
        empty,
        "select data_type from information_schema.columns "
        "where table_name = 'throughput_hour' and column_name = 'mean_wait_seconds'",
    ) == [("double precision",)]


def test_a_downgrade_leaves_no_views_that_the_older_release_cannot_replace(
    empty: Engine, next_release: None
) -> None:
    migrate(empty)
    downgrade(empty, NEWEST)
    assert rows(empty, "select relname from pg_class where relnamespace = to_regnamespace('analytics')") == []
    migrate(empty)
    assert rows(empty, "select count(*) from analytics.track_label") == [(0,)]


def test_two_migrations_at_once(empty: Engine) -> None:
    ended: list[str] = []
    threads = [threading.Thread(target=lambda: ended.append(migrate(empty).after)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ended == [newest_revision()] * 3


def test_an_interrupted_migration_continues(empty: Engine, next_release: None) -> None:
    """An interrupted build leaves an index that no query may use."""
    upgrade(empty, NEWEST)
    with empty.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("create index track_title_idx on track (title)"))
        connection.execute(
            text("update pg_index set indisvalid = false where indexrelid = 'track_title_idx'::regclass")
        )
        connection.execute(text("alter table track_genre add column percent smallint"))
        connection.execute(
            text(
                "alter table classification add constraint classification_lyrics_new_check "
                "check (lyrics = 'used') not valid"
            )
        )
    migrate(empty)
    with empty.connect() as connection:
        assert current_revision(connection) == newest_revision() == NEXT
    assert rows(empty, "select indexrelid::regclass::text from pg_index where not indisvalid") == []
    assert rows(
        empty,
        "select pg_get_constraintdef(oid) like '%translated%' from pg_constraint "
        "where contype = 'c' and conname like 'classification_lyrics%'",
    ) == [(True,)]


@pytest.mark.parametrize(
    "statement",
    [
        "update track_genre set score = 1.5",
        "update track_genre set score = 'nan'",
        "update track_genre set genre = 'pop' where genre = 'rock'",
        "update model set rank = 0",
        "update model set status = 'best'",
        "update model_threshold set threshold = 2",
        "insert into feedback (track_id, genre_id, given_by, is_correct) values ('none', 1, 'me', true)",
    ],
)
def test_invalid_rows_are_refused_by_constraints(catalog: Engine, statement: str) -> None:
    model(catalog).label("t1", rock=0.9)
    with pytest.raises(IntegrityError), catalog.begin() as connection:
        connection.execute(text(statement))
