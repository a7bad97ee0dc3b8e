"""How jobs come to their end, whatever the order in which they do."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from schemas.jobs import TrackJob
from tests.worker.catalog.labels import START, Labelling, job, model, rows, shown
from worker.catalog.jobs import Failure, JobCatalog, set_due, upsert_tracks
from worker.catalog.lifecycle import promote

MASTERS = {b"old master": "rock", b"new master": "jazz"}


@pytest.fixture
def said(catalog: Engine) -> Labelling:
    """A model that heard rock in the old master, then jazz in the new one."""
    said = model(catalog)
    for day, (master, genre) in enumerate(MASTERS.items()):
        said.catalog.write([said.classified("t1", {genre: 0.9}, day=day, input_hash=master)])
    return said


def enqueued(catalog: Engine, *jobs: TrackJob) -> None:
    with catalog.begin() as connection:
        upsert_tracks(connection, jobs)
        set_due(connection, jobs)


def failed(of: TrackJob, payload: str = "{}") -> Failure:
    return Failure(of, of.track_id, "decode", "CorruptAudio", "why", payload)


NO_JOB = Failure(None, "t1", "validate", "JobInvalid", "why", "no job")


def is_due(catalog: Engine) -> bool:
    return rows(catalog, "select due_at is not null from track where id = 't1'") == [(True,)]


def read_open_failures(catalog: Engine) -> list[str]:
    query = "select payload from ingest_failure where resolved_at is null order by id"
    return [payload for (payload,) in rows(catalog, query)]


def test_an_input_that_is_put_back_is_shown_again(catalog: Engine, said: Labelling) -> None:
    assert shown(catalog, "t1") == {"jazz"}
    said.catalog.renew_result(job("t1", day=2), b"old master")
    assert shown(catalog, "t1") == {"rock"}
    said.catalog.renew_result(job("t1", day=3), b"new master")
    assert shown(catalog, "t1") == {"jazz"}
    assert rows(catalog, "select count(*) from classification") == [(2,)]


def test_a_late_job_with_an_older_input_shows_nothing_else(catalog: Engine, said: Labelling) -> None:
    said.catalog.renew_result(job("t1", day=0.5), b"old master")
    assert shown(catalog, "t1") == {"jazz"}


def test_what_was_put_back_stays_after_late_jobs_and_a_promotion(catalog: Engine, said: Labelling) -> None:
    said.catalog.renew_result(job("t1", day=2), b"old master")
    said.catalog.write([said.classified("t1", {"rock": 0.9}, day=0, input_hash=b"old master")])
    said.catalog.renew_result(job("t1", day=0.5), b"old master")
    shadow = model(catalog, "2")
    shadow.catalog.write([shadow.classified("t1", {"pop": 0.9}, day=2, input_hash=b"old master")])
    promote(catalog, "small:2", min_coverage=0)
    promote(catalog, "small:1", min_coverage=0)
    assert shown(catalog, "t1") == {"rock"}


def test_a_shadow_that_knows_an_input_is_not_shown(catalog: Engine, said: Labelling) -> None:
    shadow = model(catalog, "2")
    shadow.catalog.write([shadow.classified("t1", {"pop": 0.9}, day=1, input_hash=b"new master")])
    shadow.catalog.renew_result(job("t1", day=2), b"new master")
    assert shown(catalog, "t1") == {"jazz"}


def test_a_job_is_due_until_all_models_know_its_input(catalog: Engine, said: Labelling) -> None:
    """Else a file that kills the worker when a shadow hears it would be tried for ever."""
    enqueued(catalog, job("t1", day=2))
    JobCatalog(catalog).count_attempt(job("t1", day=2))
    said.catalog.renew_result(job("t1", day=2), b"old master")
    assert is_due(catalog)
    assert rows(catalog, "select attempts from track") == [(1,)]


def test_what_is_skipped_is_the_tracks_newest_job_and_is_not_due(catalog: Engine, said: Labelling) -> None:
    enqueued(catalog, job("t1", day=1.5))
    JobCatalog(catalog).record_failure(failed(job("t1", day=1.5)))
    JobCatalog(catalog).mark_finished(job("t1", day=2))
    assert rows(catalog, "select enqueued_at from track") == [(START + timedelta(days=2),)]
    assert not is_due(catalog)
    assert read_open_failures(catalog) == []


def test_labels_end_their_own_job(catalog: Engine, said: Labelling) -> None:
    newest = job("t1", day=5)
    JobCatalog(catalog).record_failure(failed(newest))
    enqueued(catalog, newest)
    assert is_due(catalog)
    said.label("t1", day=5, rock=0.9)
    assert not is_due(catalog)
    assert read_open_failures(catalog) == []


@pytest.mark.parametrize("end", ["labelled", "skipped", "failed"])
def test_a_late_job_leaves_a_newer_one_as_it_is(catalog: Engine, said: Labelling, end: str) -> None:
    newest = job("t1", day=5)
    JobCatalog(catalog).record_failure(failed(newest, "newest"))
    enqueued(catalog, newest)
    if end == "labelled":
        said.label("t1", day=4, rock=0.9)
    elif end == "skipped":
        JobCatalog(catalog).mark_finished(job("t1", day=4))
    else:
        JobCatalog(catalog).record_failure(failed(job("t1", day=4), "late"))
    assert is_due(catalog)
    assert read_open_failures(catalog)[0] == "newest"


def test_in_one_group_the_newest_job_of_a_track_counts(catalog: Engine, said: Labelling) -> None:
    enqueued(catalog, job("t1", day=5))
    said.catalog.write(
        [
            said.classified("t1", {"pop": 0.9}, day=5, input_hash=b"new"),
            said.classified("t1", {"rock": 0.9}, day=4, input_hash=b"old"),
        ]
    )
    assert not is_due(catalog)


def test_a_message_that_is_no_job_ends_none(catalog: Engine, said: Labelling) -> None:
    newest = job("t1", day=5)
    JobCatalog(catalog).record_failure(failed(newest, "newest"))
    enqueued(catalog, newest)
    for _ in range(2):
        JobCatalog(catalog).record_failure(NO_JOB)
    assert is_due(catalog)
    assert read_open_failures(catalog) == ["newest", "no job"]
    said.label("t1", day=5, rock=0.9)
    assert read_open_failures(catalog) == []


def test_a_failure_of_no_job_waits_for_no_track(catalog: Engine, said: Labelling) -> None:
    """A writer holds the track and then asks for its failures: the other way round they would deadlock."""
    JobCatalog(catalog).record_failure(NO_JOB)
    enqueued(catalog, job("t1", day=5))
    with catalog.begin() as writer:
        writer.execute(text("select from track where id = 't1' for update"))
        recording = threading.Thread(target=JobCatalog(catalog).record_failure, args=(NO_JOB,))
        recording.start()
        recording.join(20)
        assert not recording.is_alive()


def test_failures_of_the_release_before_are_mended_by_any_labels(catalog: Engine, said: Labelling) -> None:
    JobCatalog(catalog).record_failure(failed(job("t1", day=5)))
    with catalog.begin() as connection:
        connection.execute(text("update ingest_failure set enqueued_at = null"))
    said.label("t1", day=4, rock=0.9)
    assert read_open_failures(catalog) == []
