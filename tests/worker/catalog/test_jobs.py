"""How jobs are finished, in any order of their results."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from schemas.jobs import TrackJob
from tests.worker.catalog.labels import START, FakeModel, job, model, read_labels, rows
from worker.catalog.jobs import Failure, JobCatalog, set_due, upsert_tracks
from worker.catalog.lifecycle import promote

MASTERS = {b"old master": "rock", b"new master": "jazz"}


@pytest.fixture
def fake(catalog: Engine) -> FakeModel:
    """A model that labelled the old master as rock and the new master as jazz."""
    fake = model(catalog)
    for day, (master, genre) in enumerate(MASTERS.items()):
        fake.catalog.write([fake.classified("t1", {genre: 0.9}, day=day, input_hash=master)])
    return fake


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


def test_a_restored_input_has_its_labels_shown_again(catalog: Engine, fake: FakeModel) -> None:
    assert read_labels(catalog, "t1") == {"jazz"}
    fake.catalog.renew_result(job("t1", day=2), b"old master")
    assert read_labels(catalog, "t1") == {"rock"}
    fake.catalog.renew_result(job("t1", day=3), b"new master")
    assert read_labels(catalog, "t1") == {"jazz"}
    assert rows(catalog, "select count(*) from classification") == [(2,)]


def test_a_late_job_with_an_older_input_does_not_change_the_labels(catalog: Engine, fake: FakeModel) -> None:
    fake.catalog.renew_result(job("t1", day=0.5), b"old master")
    assert read_labels(catalog, "t1") == {"jazz"}


def test_restored_labels_are_kept_after_late_jobs_and_a_promotion(catalog: Engine, fake: FakeModel) -> None:
    fake.catalog.renew_result(job("t1", day=2), b"old master")
    fake.catalog.write([fake.classified("t1", {"rock": 0.9}, day=0, input_hash=b"old master")])
    fake.catalog.renew_result(job("t1", day=0.5), b"old master")
    shadow = model(catalog, "2")
    shadow.catalog.write([shadow.classified("t1", {"pop": 0.9}, day=2, input_hash=b"old master")])
    promote(catalog, "small:2", min_coverage=0)
    promote(catalog, "small:1", min_coverage=0)
    assert read_labels(catalog, "t1") == {"rock"}


def test_labels_of_a_shadow_are_not_shown(catalog: Engine, fake: FakeModel) -> None:
    shadow = model(catalog, "2")
    shadow.catalog.write([shadow.classified("t1", {"pop": 0.9}, day=1, input_hash=b"new master")])
    shadow.catalog.renew_result(job("t1", day=2), b"new master")
    assert read_labels(catalog, "t1") == {"jazz"}


def test_a_job_is_due_until_all_models_have_classified_its_input(catalog: Engine, fake: FakeModel) -> None:
    """Otherwise a file that crashes a worker with a shadow model would be retried for ever."""
    enqueued(catalog, job("t1", day=2))
    JobCatalog(catalog).count_attempt(job("t1", day=2))
    fake.catalog.renew_result(job("t1", day=2), b"old master")
    assert is_due(catalog)
    assert rows(catalog, "select attempts from track") == [(1,)]


def test_a_skipped_job_becomes_the_newest_job_and_is_not_due(catalog: Engine, fake: FakeModel) -> None:
    enqueued(catalog, job("t1", day=1.5))
    JobCatalog(catalog).record_failure(failed(job("t1", day=1.5)))
    JobCatalog(catalog).mark_finished(job("t1", day=2))
    assert rows(catalog, "select enqueued_at from track") == [(START + timedelta(days=2),)]
    assert not is_due(catalog)
    assert read_open_failures(catalog) == []


def test_labels_finish_their_own_job_only(catalog: Engine, fake: FakeModel) -> None:
    newest = job("t1", day=5)
    JobCatalog(catalog).record_failure(failed(newest))
    enqueued(catalog, newest)
    assert is_due(catalog)
    fake.label("t1", day=5, rock=0.9)
    assert not is_due(catalog)
    assert read_open_failures(catalog) == []


@pytest.mark.parametrize("end", ["labelled", "skipped", "failed"])
def test_a_late_job_does_not_change_a_newer_one(catalog: Engine, fake: FakeModel, end: str) -> None:
    newest = job("t1", day=5)
    JobCatalog(catalog).record_failure(failed(newest, "newest"))
    enqueued(catalog, newest)
    if end == "labelled":
        fake.label("t1", day=4, rock=0.9)
    elif end == "skipped":
        JobCatalog(catalog).mark_finished(job("t1", day=4))
    else:
        JobCatalog(catalog).record_failure(failed(job("t1", day=4), "late"))
    assert is_due(catalog)
    assert read_open_failures(catalog)[0] == "newest"


def test_in_one_group_the_newest_job_of_a_track_counts(catalog: Engine, fake: FakeModel) -> None:
    enqueued(catalog, job("t1", day=5))
    fake.catalog.write(
        [
            fake.classified("t1", {"pop": 0.9}, day=5, input_hash=b"new"),
            fake.classified("t1", {"rock": 0.9}, day=4, input_hash=b"old"),
        ]
    )
    assert not is_due(catalog)


def test_an_invalid_message_finishes_no_job(catalog: Engine, fake: FakeModel) -> None:
    newest = job("t1", day=5)
    JobCatalog(catalog).record_failure(failed(newest, "newest"))
    enqueued(catalog, newest)
    for _ in range(2):
        JobCatalog(catalog).record_failure(NO_JOB)
    assert is_due(catalog)
    assert read_open_failures(catalog) == ["newest", "no job"]
    fake.label("t1", day=5, rock=0.9)
    assert read_open_failures(catalog) == []


def test_the_failure_of_an_invalid_message_waits_for_no_lock(catalog: Engine, fake: FakeModel) -> None:
    """A writer locks the track, then its failures. The opposite order would deadlock."""
    JobCatalog(catalog).record_failure(NO_JOB)
    enqueued(catalog, job("t1", day=5))
    with catalog.begin() as writer:
        writer.execute(text("select from track where id = 't1' for update"))
        recording = threading.Thread(target=JobCatalog(catalog).record_failure, args=(NO_JOB,))
        recording.start()
        recording.join(20)
        assert not recording.is_alive()


def test_failures_without_a_time_are_resolved_by_any_labels(catalog: Engine, fake: FakeModel) -> None:
    JobCatalog(catalog).record_failure(failed(job("t1", day=5)))
    with catalog.begin() as connection:
        connection.execute(text("update ingest_failure set enqueued_at = null"))
    fake.label("t1", day=4, rock=0.9)
    assert read_open_failures(catalog) == []
