"""What analysts ask, on a catalog small enough to know the answers."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from schemas.errors import ConfigError
from tests.worker.catalog.labels import FakeModel, model, rows
from tests.worker.processes import wait_until
from worker.catalog.lifecycle import promote
from worker.catalog.queries import (
    fetch_changes,
    fetch_correlations,
    fetch_genres,
    fetch_trend,
    fetch_unlabelled,
    search_tracks,
)
from worker.catalog.refresh import refresh
from worker.catalog.similarity import INDEXED_FROM, find_similar_tracks


@pytest.fixture
def fake(catalog: Engine) -> FakeModel:
    fake = model(catalog)
    fake.label("rock", rock=0.95)
    fake.label("rockpop", rock=0.9, pop=0.6)
    fake.label("poprock", rock=0.7, pop=0.99)
    fake.label("all", rock=0.99, pop=0.99, jazz=0.8)
    fake.label("metal", metal=0.8)
    return fake


def found(catalog: Engine, *wanted: str, without: tuple[str, ...] = (), limit: int = 10) -> list[str]:
    return [row["track_id"] for row in search_tracks(catalog, wanted, without, limit)]


def test_search_orders_by_the_lowest_requested_score(catalog: Engine, fake: FakeModel) -> None:
    assert found(catalog, "rock", "pop") == ["all", "poprock", "rockpop"]
    assert found(catalog, "rock", "pop", without=("jazz",)) == ["poprock", "rockpop"]
    assert found(catalog, "rock", "pop", limit=1) == ["all"]
    assert found(catalog, "rock") == ["all", "rock", "rockpop", "metal", "poprock"]
    assert found(catalog, "rock", without=("pop", "metal")) == ["rock"]
    assert found(catalog, "jazz", "metal") == []


def test_search_finds_new_labels_at_once_and_no_superseded_ones(catalog: Engine, fake: FakeModel) -> None:
    fake.label("new", jazz=0.9)
    assert found(catalog, "jazz") == ["new", "all"]
    fake.label("new", day=1, pop=0.9)
    assert found(catalog, "jazz") == ["all"]


def test_search_returns_all_labels_of_a_track(catalog: Engine, fake: FakeModel) -> None:
    (track,) = search_tracks(catalog, ["metal"], [], 10)
    assert (track["title"], track["genres"]) == ("Song metal", ["metal", "rock"])
    assert track["scores"] == pytest.approx([0.8, 0.8])


def test_search_refuses_unknown_genres(catalog: Engine, fake: FakeModel) -> None:
    with pytest.raises(
        ConfigError, match="no model has the genre polka; registered genres: jazz, metal, pop, rock"
    ):
        search_tracks(catalog, ["rock"], ["polka"], 1)
    with pytest.raises(ConfigError, match="name a genre"):
        search_tracks(catalog, [], ["rock"], 1)


def test_a_genres_neighbours(catalog: Engine, fake: FakeModel) -> None:
    refresh(catalog)
    assert {row["genre"]: row["tracks"] for row in fetch_genres(catalog)} == {
        "rock": 5, "pop": 3, "jazz": 1, "metal": 1,
    }  # fmt: skip
    first, *_ = fetch_correlations(catalog, "pop", 10)
    assert (first["genre"], first["tracks"], first["learned_correlation"]) == ("jazz", 1, 0.25)
    commonest, *_ = fetch_correlations(catalog, None, 10)
    assert (commonest["genre_a"], commonest["genre_b"], commonest["tracks"]) == ("pop", "rock", 3)


def test_what_changed_between_two_models(catalog: Engine, fake: FakeModel) -> None:
    shadow = model(catalog, "2")
    shadow.label("rock", rock=0.9, jazz=0.7)
    shadow.label("rockpop", rock=0.9)
    shadow.label("unseen by the first", jazz=0.9)
    refresh(catalog)
    assert {row.pop("genre"): row for row in fetch_changes(catalog, "small:1", "small:2", None, 10)} == {
        "jazz": {"kept": 0, "gained": 1, "lost": 0},
        "pop": {"kept": 0, "gained": 0, "lost": 1},
        "rock": {"kept": 2, "gained": 0, "lost": 0},
    }
    (gained,) = fetch_changes(catalog, "small:1", "small:2", "jazz", 10)
    assert (gained["track_id"], gained["change"]) == ("rock", "gained")
    with pytest.raises(ConfigError, match="were not compared"):
        fetch_changes(catalog, "small:2", "small:1", None, 10)


def test_a_genre_over_time(catalog: Engine, fake: FakeModel) -> None:
    with catalog.begin() as connection:
        connection.execute(text("update track set registered_at = '2026-01-07Z' where id = 'all'"))
        connection.execute(text("update track set registered_at = '2026-01-12Z' where id <> 'all'"))
    refresh(catalog)
    assert [(str(row["week"]), row["tracks"], row["share"]) for row in fetch_trend(catalog, "pop")] == [
        ("2026-01-05", 1, 1.0),
        ("2026-01-12", 2, 0.5),
    ]


@pytest.fixture
def weeks(catalog: Engine, fake: FakeModel) -> Engine:
    """Tracks of eight complete weeks and of today: rock in all weeks but one, jazz in the last three."""

    def ingested(weeks_ago: int, **scores: float) -> None:
        track = f"{weeks_ago} {' '.join(scores)}"
        fake.label(track, **scores)
        with catalog.begin() as connection:
            connection.execute(
                text("""
                    update track set registered_at = date_trunc('week', now() at time zone 'UTC')
                        at time zone 'UTC' - make_interval(weeks => :weeks) + interval '2 hours'
                    where id = :track
                """),
                {"weeks": weeks_ago, "track": track},
            )

    with catalog.begin() as connection:
        connection.execute(text("update track set registered_at = now() - interval '1 year'"))
    for weeks_ago in (8, 7, 6, 5, 4, 2, 1):
        ingested(weeks_ago, rock=0.9)
    for weeks_ago in (3, 2, 1):
        ingested(weeks_ago, jazz=0.9)
    ingested(7, pop=0.9)
    ingested(4)
    ingested(0, metal=0.9)
    refresh(catalog)
    return catalog


def test_growth_counts_tracks_and_includes_zeros(weeks: Engine) -> None:
    """Rock: 4 of 5, then 3 of 7. Jazz: 0, then 3 of 7. Pop: 1 of 5, then 0. The current week is left out."""
    with weeks.connect() as connection:
        grown = connection.execute(
            text("select genre, before, lately, change from analytics.genre_growth order by change desc")
        ).all()
    assert [row.genre for row in grown] == ["jazz", "pop", "rock"]
    assert [row.before for row in grown] == pytest.approx([0, 1 / 5, 4 / 5])
    assert [row.lately for row in grown] == pytest.approx([3 / 7, 0, 3 / 7])
    assert [row.change for row in grown] == pytest.approx([3 / 7, -1 / 5, 3 / 7 - 4 / 5])


def test_growth_from_zero_is_undefined(catalog: Engine, fake: FakeModel) -> None:
    with catalog.begin() as connection:
        connection.execute(text("update track set registered_at = now() - interval '8 days'"))
    refresh(catalog)
    with catalog.connect() as connection:
        grown = connection.execute(text("select before, lately, change from analytics.genre_growth")).all()
    assert {(row.before, row.change) for row in grown} == {(None, None)}
    assert {row.lately for row in grown} == {1 / 5, 3 / 5, 1}


def test_unlabelled_tracks_by_reason(catalog: Engine, fake: FakeModel) -> None:
    fake.label("quiet")
    refresh(catalog)
    assert [row["track_id"] for row in fetch_unlabelled(catalog, "no genre", 10)] == ["quiet"]
    assert fetch_unlabelled(catalog, "failed", 10) == []


def test_similar_tracks_need_pgvector(catalog: Engine, fake: FakeModel) -> None:
    with pytest.raises(ConfigError, match="run `create extension vector` in the catalog"):
        find_similar_tracks(catalog, "rock", 3)


def test_similar_tracks_are_the_nearest_by_the_current_model(catalog: Engine, fake: FakeModel) -> None:
    with catalog.begin() as connection:
        connection.execute(text("create extension vector"))
    directions = {"a": (1, 0, 0, 0), "b": (2, 0.2, 0, 0), "c": (1, 1, 0, 0), "d": (-1, 0, 0, 0)}
    fake.catalog.write([fake.classified(track, {}, embedding=at) for track, at in directions.items()])
    with pytest.raises(ConfigError, match="a has no embedding"):
        find_similar_tracks(catalog, "a", 3)
    refresh(catalog)
    nearest = find_similar_tracks(catalog, "a", 100)
    assert [row["track_id"] for row in nearest if row["track_id"] in directions] == ["b", "c", "d"]
    assert nearest[-1]["similarity"] == pytest.approx(-1)
    # A new result replaces the old; a shadow's embeddings are of another space.
    fake.catalog.write([fake.classified("d", {}, day=1, input_hash=b"new", embedding=(1, 0, 0, 0))])
    model(catalog, "2").label("b", day=2, jazz=0.9)
    refresh(catalog)
    assert [row["track_id"] for row in find_similar_tracks(catalog, "a", 2)] == ["d", "b"]


def test_another_models_embeddings_replace_the_others_at_once(catalog: Engine, fake: FakeModel) -> None:
    """Embeddings of another width replace the old ones, also while a query reads those."""
    with catalog.begin() as connection:
        connection.execute(text("create extension vector"))
    refresh(catalog)
    with catalog.begin() as connection:
        connection.execute(text("create view mine as select track_id, embedding from analytics.track_vector"))
    tried = (
        "select from pg_locks "
        "where not granted and relation in "
        "(to_regclass('analytics.track_vector'), to_regclass('similarity.track_vector'))"
    )
    for version, width in (("2", 4), ("3", 5)):
        shadow = model(catalog, version)
        for track in ("rock", "metal"):
            shadow.catalog.write([shadow.classified(track, {}, embedding=(1,) * width)])
        promote(catalog, f"small:{version}", min_coverage=0)
        with ThreadPoolExecutor() as pool:
            with catalog.connect() as reader:
                (before,) = reader.execute(text("select count(*) from analytics.track_vector")).one()
                refreshed = pool.submit(refresh, catalog)
                wait_until(lambda: rows(catalog, tried) != [])
                assert rows(catalog, "select count(*) from analytics.track_vector") == [(before,)]
                assert not refreshed.done()
            refreshed.result()
        assert rows(catalog, "select track_id from analytics.track_vector order by 1") == [
            ("metal",),
            ("rock",),
        ]
        assert [row["track_id"] for row in find_similar_tracks(catalog, "rock", 9)] == ["metal"]
        assert rows(catalog, "select to_regclass('mine')") == [("mine" if width == 4 else None,)]
        refresh(catalog)


def test_many_embeddings_are_indexed(catalog: Engine, fake: FakeModel) -> None:
    with catalog.begin() as connection:
        connection.execute(text("create extension vector"))
        connection.execute(
            text(
                "insert into track (id, job, enqueued_at) "
                "select 'many' || n, '{}', now() from generate_series(1, :many) n"
            ),
            {"many": INDEXED_FROM},
        )
        connection.execute(
            text("""
                with made as (
                    insert into classification (track_id, model_id, input_hash, scores, embedding, provider,
                        precision, track_seconds, analysed_seconds, lyrics, timings, enqueued_at)
                    select id, (select min(id) from model), '', '{}',
                           array[cos(hashtext(id)), sin(hashtext(id)), 0.1, 0],
                           'cpu', 'fp32', 1, 1, 'used', '{}', now()
                    from track where id like 'many%' returning id, track_id
                )
                insert into track_current select track_id, id, 1, now() from made
            """)
        )
    refresh(catalog)
    with catalog.connect() as connection:
        assert connection.scalar(
            text("select count(*) from pg_indexes where indexname = 'track_vector_embedding_idx'")
        )
    assert len(find_similar_tracks(catalog, "many1", 5)) == 5
    refresh(catalog)
