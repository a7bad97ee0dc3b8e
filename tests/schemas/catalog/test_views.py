"""The views: documented, replaced in place, and right."""

import math
import threading

import pytest
from sqlalchemy import Engine, text

from schemas.catalog import views
from schemas.catalog.views import materialised_views, replace_views
from tests.worker.catalog.labels import model, rows
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


def test_cooccurrence_is_what_the_formulas_say(catalog: Engine) -> None:
    said = model(catalog)
    for at in range(4):
        said.label(f"both{at}", rock=0.9, pop=0.8)
    for at in range(2):
        said.label(f"rock{at}", rock=0.9)
    said.label("pop", pop=0.9)
    for at in range(3):
        said.label(f"jazz{at}", jazz=0.9)
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


def test_belief_stands_beside_observation(catalog: Engine) -> None:
    model(catalog).label("t1", rock=0.9, pop=0.8)
    refresh(catalog)
    assert rows(
        catalog,
        "select belief, n from analytics.belief_and_observation where genre_a = 'rock' and genre_b = 'pop'",
    ) == [(0.25, 1)]


def test_what_people_built_on_the_views_outlives_another_definition(
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
        with catalog.begin() as connection:
            replace_views(connection)
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


def test_a_materialised_view_is_made_anew_when_its_definition_changes(
    catalog: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    changed = views.SQL.read_text().replace("n / n_all as support", "2 * n / n_all as support")
    file = views.SQL.__class__(str(tmp_path)) / "analytics.sql"
    file.write_text(changed)
    monkeypatch.setattr(views, "SQL", file)
    model(catalog).label("t1", rock=0.9, pop=0.8)
    with catalog.begin() as connection:
        replace_views(connection)
    support = "select support from analytics.genre_cooccurrence where genre_a = 'rock' and genre_b = 'pop'"
    assert rows(catalog, support) == [(2.0,)]
    assert rows(catalog, "select count(*) from analytics.belief_and_observation") == [(2,)]
    refresh(catalog)


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
    from tests.worker.catalog.labels import job
    from worker.catalog.jobs import Failure, JobCatalog, upsert_tracks

    said = model(catalog)
    shadow = model(catalog, "2")
    said.label("labelled", rock=0.9)
    said.label("quiet")
    shadow.label("shadowed", rock=0.9)
    JobCatalog(catalog).record_failure(
        Failure(job("broken"), "broken", "decode", "CorruptAudio", "why", "{}")
    )
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
