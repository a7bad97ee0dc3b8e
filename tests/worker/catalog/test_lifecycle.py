"""A model's life, and the labels that analysts see in it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from schemas.errors import ConfigError
from tests.worker.catalog.labels import GENRES, FakeModel, manifest, model, read_labels, rows
from tests.worker.processes import wait_until
from worker.catalog.lifecycle import list_models, promote, retire
from worker.catalog.models import register_model
from worker.catalog.refresh import refresh


@pytest.fixture
def current(catalog: Engine) -> FakeModel:
    return model(catalog, "1")


@pytest.fixture
def shadow(catalog: Engine, current: FakeModel) -> FakeModel:
    return model(catalog, "2")


def test_a_shadow_classifies_and_is_not_shown(catalog: Engine, current: FakeModel, shadow: FakeModel) -> None:
    current.label("t1", rock=0.9)
    shadow.label("t1", day=1, jazz=0.9)
    shadow.label("t2", jazz=0.9)
    assert read_labels(catalog, "t1") == {"rock"}
    assert read_labels(catalog, "t2") == set()


def test_promotion_replaces_the_labels_of_all_classified_tracks(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    current.label("t1", rock=0.9, pop=0.8)
    current.label("t2", rock=0.9)
    shadow.label("t1", jazz=0.9, pop=0.7)
    shadow.label("only by the shadow", pop=0.9)
    done = promote(catalog, "small:2", min_coverage=0.5)
    assert (done.moved, done.kept) == (2, 1)
    assert read_labels(catalog, "t1") == {"jazz", "pop"}
    assert read_labels(catalog, "t2") == {"rock"}
    assert read_labels(catalog, "only by the shadow") == {"pop"}
    assert rows(catalog, "select version, status from model order by version") == [
        ("1", "retired"),
        ("2", "current"),
    ]


def test_promotion_refuses_below_the_coverage_bound(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    current.label("t1", rock=0.9)
    current.label("t2", rock=0.9)
    shadow.label("t1", jazz=0.9)
    with pytest.raises(ConfigError, match=r"1 of 2 labelled tracks \(50.0%\), less than 95.0%"):
        promote(catalog, "small:2", min_coverage=0.95)
    assert read_labels(catalog, "t1") == {"rock"}
    assert rows(catalog, "select status from model order by version") == [("current",), ("shadow",)]


def test_a_late_result_of_the_previous_model_changes_nothing(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    current.label("t1", rock=0.9)
    shadow.label("t1", jazz=0.9)
    promote(catalog, "small:2", min_coverage=1)
    current.label("t1", day=9, pop=0.9)
    assert read_labels(catalog, "t1") == {"jazz"}


def test_rollback_to_the_previous_model(catalog: Engine, current: FakeModel, shadow: FakeModel) -> None:
    current.label("t1", rock=0.9)
    shadow.label("t1", jazz=0.9)
    shadow.label("t2", jazz=0.9)
    promote(catalog, "small:2", min_coverage=1)
    promote(catalog, "small:1", min_coverage=0.5)
    assert read_labels(catalog, "t1") == {"rock"}
    shadow.label("t1", day=9, metal=0.9)
    assert read_labels(catalog, "t1") == {"rock"}
    current.label("t2", pop=0.9)
    assert read_labels(catalog, "t2") == {"pop"}


def test_a_replayed_job_and_an_older_one_leave_the_newest_labels(catalog: Engine, current: FakeModel) -> None:
    new = current.classified("t1", {"pop": 0.9}, day=2, input_hash=b"new master")
    old = current.classified("t1", {"rock": 0.9}, day=1, input_hash=b"old master")
    for result in (new, old, new, old):
        current.catalog.write([result])
        assert read_labels(catalog, "t1") == {"pop"}
    assert rows(catalog, "select count(*) from classification") == [(2,)]


def test_two_workers_on_the_same_tracks(catalog: Engine, current: FakeModel) -> None:
    """Half the results are of a newer job. Its labels are shown in any order of commits."""
    tracks = [f"t{at}" for at in range(40)]
    errors: list[Exception] = []

    def work(genre: str, day: int) -> None:
        for _ in range(10):
            group = [
                current.classified(track, {genre: 0.9}, day=day, input_hash=genre.encode())
                for track in tracks
            ]
            try:
                current.catalog.write(group if day else group[::-1])
            except Exception as error:
                errors.append(error)

    workers = [threading.Thread(target=work, args=pair) for pair in (("rock", 0), ("pop", 1), ("rock", 0))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert all(read_labels(catalog, track) == {"pop"} for track in tracks)
    assert rows(catalog, "select count(*) from track_genre where current") == [(len(tracks),)]


def test_results_committed_during_a_promotion_are_shown(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    """Results that the shadow commits just before or just after the promotion are shown."""
    for at in range(50):
        current.label(f"t{at}", rock=0.9)
        shadow.label(f"t{at}", jazz=0.9)
    stop = threading.Event()
    written: list[str] = []

    def work() -> None:
        while not stop.is_set():
            shadow.label(f"new{len(written)}", pop=0.9)
            written.append(f"new{len(written)}")

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.3)
    promote(catalog, "small:2", min_coverage=1)
    before = len(written)
    time.sleep(0.3)
    stop.set()
    worker.join()
    assert 0 < before < len(written)
    assert all(read_labels(catalog, track) == {"pop"} for track in written)


def test_labels_of_an_old_master_are_not_promoted(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    for fake in (current, shadow):
        fake.catalog.write([fake.classified("t1", {"rock": 0.9}, input_hash=b"old master")])
        fake.catalog.write([fake.classified("t2", {"rock": 0.9}, input_hash=b"kept master")])
    current.catalog.write([current.classified("t1", {"jazz": 0.9}, day=9, input_hash=b"new master")])
    current.catalog.write([current.classified("t2", {"rock": 0.9}, day=9, input_hash=b"kept master")])
    refresh(catalog)
    assert rows(catalog, "select track_id from analytics.compared_track") == [("t2",)]
    with pytest.raises(ConfigError, match=r"1 of 2 labelled tracks \(50.0%\)"):
        promote(catalog, "small:2", min_coverage=1)
    done = promote(catalog, "small:2", min_coverage=0.5)
    assert (done.moved, done.kept) == (1, 1)
    assert (read_labels(catalog, "t1"), read_labels(catalog, "t2")) == ({"jazz"}, {"rock"})
    # The pointer keeps the newer job's time: a result of a job in between is too late.
    shadow.catalog.write([shadow.classified("t2", {"pop": 0.9}, day=5, input_hash=b"master in between")])
    assert read_labels(catalog, "t2") == {"rock"}
    shadow.catalog.write([shadow.classified("t1", {"pop": 0.9}, day=9, input_hash=b"new master")])
    assert read_labels(catalog, "t1") == {"pop"}


def test_the_same_job_in_another_pipeline_is_seen(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    """An input's hash depends on the pipeline's version; otherwise a backfill would never finish."""
    current.catalog.write([current.classified("t1", {"rock": 0.9}, input_hash=b"pipeline 1")])
    shadow.catalog.write([shadow.classified("t1", {"jazz": 0.9}, input_hash=b"pipeline 2")])
    assert rows(catalog, "select track_id from analytics.compared_track") == [("t1",)]
    assert promote(catalog, "small:2", min_coverage=1).moved == 1
    assert read_labels(catalog, "t1") == {"jazz"}


def test_a_shadow_that_is_promoted_cannot_be_retired_at_the_same_time(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    current.label("t1", rock=0.9)
    shadow.label("t1", jazz=0.9)
    with ThreadPoolExecutor() as pool:
        with catalog.begin() as writer:
            writer.execute(text("lock table track_current in row exclusive mode"))
            promoted = pool.submit(promote, catalog, "small:2", 1)
            wait_until(lambda: waiting(catalog) == 1)
            retired = pool.submit(retire, catalog, "small:2")
            wait_until(lambda: waiting(catalog) == 2)
        assert promoted.result().moved == 1
        with pytest.raises(
            ConfigError, match="small:2 is the current model: to retire it, promote another model"
        ):
            retired.result()
    assert rows(catalog, "select status from model order by version") == [("retired",), ("current",)]


def test_only_the_first_model_becomes_current_by_itself(catalog: Engine, current: FakeModel) -> None:
    with catalog.begin() as connection:
        connection.execute(text("update model set status = 'retired'"))
    model(catalog, "2")
    assert rows(catalog, "select status from model order by version") == [("retired",), ("shadow",)]


def test_the_previous_model_is_the_one_shown_before(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    third = model(catalog, "3")
    current.label("t1", rock=0.9)
    shadow.label("t1", pop=0.9)
    third.label("t1", jazz=0.9)
    retire(catalog, "small:2")
    promote(catalog, "small:3", min_coverage=1)
    refresh(catalog)
    compared = "select distinct from_model, to_model from analytics.model_comparison"
    assert rows(catalog, compared) == [("small:1", "small:3")]
    promote(catalog, "small:1", min_coverage=1)
    refresh(catalog)
    assert rows(catalog, compared) == [("small:3", "small:1")]


def test_a_shadows_names_and_parents_are_shown_from_its_promotion_on(
    catalog: Engine, current: FakeModel
) -> None:
    described = manifest("2", (*GENRES, "polka"))
    parents = {"metal": "jazz", "polka": "pop"}
    genres = [
        genre.model_copy(update={"name": genre.name.upper(), "parent": parents.get(genre.slug)})
        for genre in described.genres
    ]
    register_model(catalog, described.model_copy(update={"genres": genres}), "2" * 64)
    named = "select genre, name, parent from analytics.genre where genre in ('metal', 'polka') order by 1"
    assert rows(catalog, named) == [("metal", "Metal", "rock"), ("polka", "POLKA", None)]
    promote(catalog, "small:2", min_coverage=0)
    assert rows(catalog, named) == [("metal", "METAL", "jazz"), ("polka", "POLKA", "pop")]
    promote(catalog, "small:1", min_coverage=0)
    assert rows(catalog, named) == [("metal", "Metal", "rock"), ("polka", "POLKA", "pop")]


def test_workers_continue_during_a_promotion(catalog: Engine, current: FakeModel, shadow: FakeModel) -> None:
    for fake in (current, shadow):
        fake.label("t1", rock=0.9)
    with ThreadPoolExecutor() as pool:
        with catalog.begin() as holding:  # which stops the move in its middle
            holding.execute(text("select from track_current for update"))
            promoted = pool.submit(promote, catalog, "small:2", 1)
            wait_until(lambda: waiting(catalog) == 1)
            shadow.label("new", jazz=0.9)
            current.label("old model's", jazz=0.9)
            assert read_labels(catalog, "new") == {"jazz"}
            assert not promoted.done()
        assert promoted.result().moved == 1


def test_an_interrupted_promotion_is_resumed(catalog: Engine, current: FakeModel, shadow: FakeModel) -> None:
    current.label("t1", rock=0.9)
    shadow.label("t1", jazz=0.9)
    with ThreadPoolExecutor() as pool:
        with catalog.begin() as holding:
            holding.execute(text("select from track_current for update"))
            broken_off = pool.submit(promote, catalog, "small:2", 1)
            wait_until(lambda: waiting(catalog) == 1)
            with catalog.connect() as connection:
                connection.execute(text("select pg_terminate_backend(pid) from pg_locks where not granted"))
        with pytest.raises(OperationalError):
            broken_off.result()
    assert read_labels(catalog, "t1") == {"rock"}
    assert promote(catalog, "small:2", min_coverage=1).moved == 1
    assert read_labels(catalog, "t1") == {"jazz"}


def test_a_promotion_that_deadlocks_with_a_worker_is_retried(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    """The worker classifies a track again: it writes the labels first, then the pointer."""
    current.label("t1", rock=0.9)
    shadow.label("t1", jazz=0.9)
    with ThreadPoolExecutor() as pool:
        with catalog.begin() as worker:
            worker.execute(text("set local deadlock_timeout = '1min'"))  # the promotion is to give way
            worker.execute(text("select from track_genre where genre = 'jazz' for update"))
            promoted = pool.submit(promote, catalog, "small:2", 1)
            wait_until(lambda: waiting(catalog) == 1)
            worker.execute(text("select from track_current for update"))
        assert promoted.result().moved == 1
    assert read_labels(catalog, "t1") == {"jazz"}


def waiting(catalog: Engine) -> int:
    """Return the number of sessions of this catalog that wait for a lock."""
    ((count,),) = rows(
        catalog,
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'",
    )
    return int(count)


def test_the_flag_follows_every_change_of_the_pointer(catalog: Engine, current: FakeModel) -> None:
    current.label("t1", rock=0.9)
    with catalog.begin() as connection:
        connection.execute(text("delete from track_current"))
    assert read_labels(catalog, "t1") == set()
    with catalog.begin() as connection:
        connection.execute(
            text("insert into track_current select track_id, id, 1, enqueued_at from classification")
        )
    assert read_labels(catalog, "t1") == {"rock"}


def test_retired_models_and_the_current_one(catalog: Engine, current: FakeModel, shadow: FakeModel) -> None:
    retire(catalog, "small:2")
    with pytest.raises(ConfigError, match="is the current model: to retire it, promote another model"):
        retire(catalog, "small:1")
    with pytest.raises(ConfigError, match="has no model small:3; registered: small:1, small:2"):
        promote(catalog, "small:3", min_coverage=0)
    with pytest.raises(ConfigError, match="is already the current model"):
        promote(catalog, "small:1", min_coverage=0)


def test_the_list_shows_coverage_and_agreement(
    catalog: Engine, current: FakeModel, shadow: FakeModel
) -> None:
    for at in range(4):
        current.label(f"t{at}", rock=0.9, pop=0.9)
    shadow.label("t0", rock=0.9, pop=0.9)
    shadow.label("t1", rock=0.9, jazz=0.9)
    refresh(catalog)
    newest, oldest = list_models(catalog)
    assert newest == {"model": "small:2", "status": "shadow", "tracks": 2, "coverage": 0.5, "agreement": 0.6}
    assert (oldest["coverage"], oldest["agreement"]) == (1.0, None)
