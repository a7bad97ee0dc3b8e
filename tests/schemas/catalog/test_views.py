"""The views: their documentation, their replacement, and their content."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from schemas.catalog import views
from schemas.catalog.views import ViewsInUse, materialised_views, replace_views
from schemas.errors import ConfigError
from tests.worker.catalog.labels import job, model, rows
from tests.worker.processes import wait_until
from worker.catalog.jobs import Failure, JobCatalog, upsert_tracks
from worker.catalog.refresh import refresh


def test_every_table_view_and_column_has_a_comment(catalog: Engine) -> None:
    silent = rows(
        catalog,
        """
        select c.oid::regclass::text, a.attname from pg_class c
        join pg_attribute a on a.attrelid = c.oid and (a.attnum > 0 and not a.attisdropped or a.attnum = -1)
        where c.relkind in ('r', 'v', 'm')
          and c.relnamespace in ('public'::regnamespace, 'analytics'::regnamespace)
          and c.relname <> 'alembic_version'
          and coalesce(col_description(c.oid, a.attnum::int), obj_description(c.oid)) is null
          or c.relnamespace in ('public'::regnamespace, 'analytics'::regnamespace)
          and c.relkind in ('r', 'v', 'm') and c.relname <> 'alembic_version' and a.attnum > 0
          and col_description(c.oid, a.attnum::int) is null
        """,
    )
    assert silent == []


def test_every_materialised_view_can_be_refreshed_concurrently(catalog: Engine) -> None:
    named = rows(
        catalog, "select 'analytics.' || matviewname from pg_matviews where schemaname = 'analytics'"
    )
    assert sorted(materialised_views()) == sorted(name for (name,) in named)
    refresh(catalog)


def test_cooccurrence_follows_its_formulas(catalog: Engine) -> None:
    fake = model(catalog)
    for at in range(4):
        fake.label(f"both{at}", rock=0.9, pop=0.8)
    for at in range(2):
        fake.label(f"rock{at}", rock=0.9)
    fake.label("pop", pop=0.9)
    for at in range(3):
        fake.label(f"jazz{at}", jazz=0.9)
    refresh(catalog)
    ((n, n_a, n_b, support, b_given_a, a_given_b, lift, phi),) = rows(
        catalog,
        "select n, n_a, n_b, support, b_given_a, a_given_b, lift, phi from analytics.genre_cooccurrence "
        "where genre_a = 'rock' and genre_b = 'pop'",
    )
    assert (n, n_a, n_b) == (4, 6, 5)
    assert (support, b_given_a, a_given_b) == pytest.approx((0.4, 4 / 6, 4 / 5))
    assert lift == pytest.approx(0.4 / (0.6 * 0.5))
    assert phi == pytest.approx((4 * 10 - 6 * 5) / math.sqrt(6 * 5 * 4 * 5))
    assert rows(
        catalog,
        "select n, lift from analytics.genre_cooccurrence where genre_a = 'jazz' and genre_b = 'rock'",
    ) == [(0, 0.0)]


def test_learned_and_observed_correlation_are_ranked(catalog: Engine) -> None:
    """Rock's neighbours: pop on three tracks, metal on two, jazz on none, but with the highest weight."""
    fake = model(catalog)
    model(catalog, "2", ("rock", "pop", "polka"))
    for at in range(3):
        fake.label(f"pop{at}", rock=0.9, pop=0.8, metal=0.8 if at else 0.1)
    fake.label("jazz", jazz=0.9)
    with catalog.begin() as connection:
        connection.execute(
            text("""
                update genre_correlation set weight = 0.5 from genre a, genre b
                where a.id = genre_a and b.id = genre_b and a.slug = 'rock' and b.slug = 'jazz'
            """)
        )
        # A genre that the current model does not have.
        connection.execute(
            text("""
                insert into track_genre (classification_id, genre_id, score, genre, current)
                select cur.classification_id, g.id, 1, g.slug, true
                from track_current cur cross join genre g where g.slug = 'polka'
            """)
        )
    refresh(catalog)
    assert rows(
        catalog,
        "select genre_b, learned_correlation, n, learned_rank, observed_rank "
        "from analytics.learned_and_observed "
        "where genre_a = 'rock' order by observed_rank, genre_b",
    ) == [
        ("pop", 0.25, 3, 2.5, 1.0),
        ("metal", 0.25, 2, 2.5, 2.0),
        ("jazz", 0.5, 0, 1.0, 3.0),
        ("polka", None, 3, None, None),
    ]
    assert rows(
        catalog,
        "select distinct observed_rank from analytics.learned_and_observed "
        "where genre_a = 'jazz' and genre_b <> 'polka'",
    ) == [(2.0,)], "all three on none of its tracks"


def test_views_of_users_are_kept_when_a_definition_changes(
    catalog: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    with catalog.begin() as connection:
        connection.execute(text("create view mine as select genre from analytics.track_label"))
        connection.execute(text("create view mine_too as select week from analytics.genre_week"))
        connection.execute(text("create role reader_of_one_view"))
        connection.execute(text("grant select on analytics.track_label to reader_of_one_view"))
    changed = views.SQL.read_text().replace(
        "as feedback\nfrom public.track_genre l", "as feedback, 1 as one\nfrom public.track_genre l"
    )
    assert changed != views.SQL.read_text()
    file = views.SQL.__class__(str(tmp_path)) / "analytics.sql"
    file.write_text(changed)
    monkeypatch.setattr(views, "SQL", file)
    try:
        renew(catalog)
        assert rows(catalog, "select count(one) from analytics.track_label") == [(0,)]
        assert rows(catalog, "select count(*) from mine union all select count(*) from mine_too") == [
            (0,),
            (0,),
        ]
        assert rows(
            catalog, "select has_table_privilege('reader_of_one_view', 'analytics.track_label', 'select')"
        ) == [(True,)]
    finally:
        with catalog.begin() as connection:
            connection.execute(text("drop owned by reader_of_one_view; drop role reader_of_one_view"))


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another release's views: `genre_cooccurrence` and `unlabelled`, which `coverage_week` reads, differ."""
    sql = views.SQL.read_text()
    for old, new in (("n / n_all as support", "2 * n / n_all as support"), ("else 'waiting'", "else 'due'")):
        assert old in sql
        sql = sql.replace(old, new)
    file = tmp_path / "analytics.sql"
    file.write_text(sql)
    monkeypatch.setattr(views, "SQL", file)


def test_a_materialised_view_is_replaced_when_its_definition_changes(catalog: Engine, changed: None) -> None:
    model(catalog).label("t1", rock=0.9, pop=0.8)
    renew(catalog)
    support = "select support from analytics.genre_cooccurrence where genre_a = 'rock' and genre_b = 'pop'"
    assert rows(catalog, support) == [(2.0,)]
    assert rows(catalog, "select count(*) from analytics.learned_and_observed") == [(2,)]
    assert rows(catalog, "select to_regnamespace('analytics_next')") == [(None,)]
    refresh(catalog)


@pytest.mark.parametrize("view", materialised_views()[:-1])
def test_a_refresh_uses_one_snapshot(catalog: Engine, view: str) -> None:
    """Commits during the refresh, here after each view, are not included."""
    fake, shadow = model(catalog), model(catalog, "2")
    for at in range(4):
        fake.label(f"t{at}", rock=0.9)
    shadow.label("t0", rock=0.9)

    def meanwhile(refreshed: str, _: float) -> None:
        if refreshed == view:
            for at in range(4):
                shadow.label(f"t{at}", day=1, jazz=0.9)
                fake.label(f"new{at}", pop=0.9)
            with catalog.begin() as connection:
                upsert_tracks(connection, [job(f"waits{at}") for at in range(90)])

    refresh(catalog, meanwhile)
    assert rows(catalog, "select registered, labelled, waiting from analytics.coverage") == [(4, 4, 0)]
    assert rows(catalog, "select genre, tracks from analytics.genre_week") == [("rock", 4)]
    assert rows(catalog, "select genre, kept, gained, lost from analytics.model_comparison") == [
        ("rock", 1, 0, 0)
    ]
    assert rows(catalog, "select agreement from analytics.model where model = 'small:2'") == [(1.0,)]


def test_a_manual_refresh_during_a_refresh(catalog: Engine) -> None:
    fake = model(catalog)
    fake.label("t1", rock=0.9)
    refresh(catalog)
    fake.label("t2", pop=0.9)

    def by_hand(refreshed: str, _: float) -> None:
        if refreshed == "analytics.genre_week":
            with catalog.begin() as connection:
                connection.execute(text("refresh materialized view concurrently analytics.coverage_week"))
                connection.execute(text("refresh materialized view concurrently analytics.refreshed"))

    with pytest.raises(ConfigError, match="in the meantime: run `cogenre catalog refresh` again"):
        refresh(catalog, by_hand)
    assert rows(catalog, "select genre from analytics.genre_week") == [("rock",)]
    refresh(catalog)
    assert rows(catalog, "select genre from analytics.genre_week order by 1") == [("pop",), ("rock",)]


def test_shares_are_of_classified_tracks_and_agree_with_coverage(catalog: Engine) -> None:
    fake = model(catalog)
    fake.label("rock", rock=0.9, pop=0.9)
    fake.label("jazz", jazz=0.9)
    for at in range(2):
        fake.label(f"quiet{at}")
    with catalog.begin() as connection:
        upsert_tracks(connection, [job("new")])
    refresh(catalog)
    assert rows(catalog, "select labelled, no_genre from analytics.coverage") == [(2, 2)]
    assert rows(catalog, "select share from analytics.genre_week where genre = 'rock'") == [(1 / 4,)]
    assert rows(
        catalog,
        "select support from analytics.genre_cooccurrence where genre_a = 'rock' and genre_b = 'pop'",
    ) == [(1 / 4,)]


def test_coverage_of_a_model_is_of_what_is_shown(catalog: Engine) -> None:
    """Tracks without shown labels and replaced audio do not count."""
    fake, shadow = model(catalog), model(catalog, "2")
    for track in ("same", "quiet", "replaced", "newer", "not seen"):
        fake.label(track, rock=0.1 if track == "quiet" else 0.9)
    for track in ("same", "quiet", "replaced", "only here"):
        shadow.label(track, rock=0.9)
    fake.label("same", day=2, rock=0.9)
    shadow.catalog.write([shadow.classified("newer", {"jazz": 0.9}, day=1, input_hash=b"new master")])
    fake.catalog.write([fake.classified("replaced", {"jazz": 0.9}, day=1, input_hash=b"new master")])
    with catalog.begin() as connection:
        upsert_tracks(connection, [job("waits")])
    refresh(catalog)
    assert rows(catalog, "select model, tracks, coverage from analytics.model order by rank") == [
        ("small:1", 5, 1.0),
        ("small:2", 5, 0.6),
    ]


def test_weeks_begin_on_monday_by_utc_wherever_the_refresh_runs(catalog: Engine) -> None:
    fake = model(catalog)
    fake.label("t1", rock=0.9)
    fake.label("quiet")
    with catalog.begin() as connection:
        connection.execute(text("update track set registered_at = '2026-01-05 00:30Z'"))
        database = connection.engine.url.database
        connection.execute(text(f"alter database {database} set timezone = 'America/New_York'"))
    catalog.dispose()
    refresh(catalog)
    monday = date(2026, 1, 5)
    assert rows(catalog, "select week from analytics.genre_week") == [(monday,)]
    assert rows(catalog, "select week, labelled, no_genre from analytics.coverage_week") == [(monday, 1, 1)]


def test_no_column_is_numeric(catalog: Engine) -> None:
    """A numeric would be a string in JSON lines and an object in a data frame."""
    assert not rows(
        catalog,
        "select table_name, column_name from information_schema.columns "
        "where table_schema = 'analytics' and data_type = 'numeric'",
    )


def test_the_mean_wait_is_of_jobs_with_a_recorded_wait(catalog: Engine) -> None:
    fake = model(catalog)
    for track, wait in {"a": {"wait": 2000.0}, "b": {"wait": 4000.0}, "old": {}}.items():
        fake.catalog.write([replace(fake.classified(track, {"rock": 0.9}), timings=wait)])
    assert rows(catalog, "select tracks, mean_wait_seconds from analytics.throughput_hour") == [(3, 3.0)]


@pytest.mark.parametrize("column", ["artist", "isrc"])
def test_tracks_are_found_by_artist_and_isrc_without_reading_all(catalog: Engine, column: str) -> None:
    with catalog.begin() as connection:
        connection.execute(
            text(
                "insert into track (id, artist, isrc, job, enqueued_at) "
                "select n, 'artist ' || n, 'isrc ' || n, '{}', now() from generate_series(1, 5000) n"
            )
        )
        connection.execute(text("analyze track"))
        for view in ("track", "track_label"):
            plan = connection.scalar(
                text(f"explain (format json) select * from analytics.{view} where {column} = '{column} 7'")
            )
            assert f"track_{column}_idx" in str(plan)


def test_readers_continue_while_a_materialised_view_is_replaced(catalog: Engine, changed: None) -> None:
    """The swap waits for a long reader of the old view; later readers are not blocked."""
    with ThreadPoolExecutor() as pool:
        with catalog.connect() as reader:
            reader.execute(text("select * from analytics.coverage"))  # holds its lock until the end
            renewed = pool.submit(renew, catalog)
            tried = "select from pg_locks where not granted and mode = 'AccessExclusiveLock'"
            wait_until(lambda: rows(catalog, tried) != [])
            for view in materialised_views():
                rows(catalog, f"select * from {view}")
            assert not renewed.done()
        renewed.result()
    assert rows(catalog, "select support from analytics.genre_cooccurrence") == []


def test_grants_are_kept_when_a_view_is_replaced(catalog: Engine, changed: None) -> None:
    granted = (
        "select relname, array(select acl::text from unnest(relacl) acl order by 1) from pg_class "
        "where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm') order by 1"
    )
    with catalog.begin() as connection:
        connection.execute(text("grant select on analytics.coverage, analytics.unlabelled to public"))
    before = rows(catalog, granted)
    renew(catalog)
    assert rows(catalog, granted) == before


def test_views_of_users_are_not_dropped(catalog: Engine, changed: None) -> None:
    with catalog.begin() as connection:
        connection.execute(text("create view mine as select waiting from analytics.coverage"))
        connection.execute(
            text("create materialized view mine_too as select n from analytics.genre_cooccurrence")
        )
    with pytest.raises(ViewsInUse, match=r"^mine, mine_too: built on analytics.genre_cooccurrence, "):
        renew(catalog)
    assert rows(catalog, "select waiting from mine") == [(0,)]
    with catalog.begin() as connection:
        connection.execute(text("drop view mine; drop materialized view mine_too"))
    renew(catalog)


def renew(catalog: Engine) -> None:
    with catalog.connect() as connection:
        replace_views(connection.execution_options(isolation_level="AUTOCOMMIT"))


def test_a_reader_is_not_blocked_by_a_refresh(catalog: Engine) -> None:
    model(catalog).label("t1", rock=0.9)
    with catalog.connect() as reader:
        for view in materialised_views():
            reader.execute(text(f"select * from {view}"))  # holds its locks until the end
        refreshing = threading.Thread(target=refresh, args=(catalog,))
        refreshing.start()
        refreshing.join(20)
        assert not refreshing.is_alive()


def test_why_a_track_has_no_labels(catalog: Engine) -> None:
    fake = model(catalog)
    shadow = model(catalog, "2")
    fake.label("labelled", rock=0.9)
    fake.label("quiet")
    shadow.label("shadowed", rock=0.9)
    JobCatalog(catalog).record_failure(
        Failure(job("broken"), "broken", "decode", "CorruptAudio", "why", "{}")
    )
    late = job("broken", day=-1)
    JobCatalog(catalog).record_failure(Failure(late, "broken", "fetch", "ObjectMissing", "late", "{}"))
    with catalog.begin() as connection:
        upsert_tracks(connection, [job("new")])
    refresh(catalog)
    assert rows(catalog, "select track_id, reason, error_class from analytics.unlabelled order by 1") == [
        ("broken", "failed", "CorruptAudio"),
        ("new", "waiting", None),
        ("quiet", "no genre", None),
        ("shadowed", "not shown", None),
    ]
    assert rows(catalog, "select * from analytics.coverage") == [(5, 1, 0.2, 1, 1, 1, 1)]
