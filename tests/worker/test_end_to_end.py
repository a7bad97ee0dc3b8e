"""From the queue to a SQL query, through a real worker process."""

import json
import signal
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from schemas.bundle import read_bundle
from schemas.jobs import QUEUE_BACKFILL, TASK_NAME
from tests.audio import encode, tone
from tests.conftest import DEMO_BUNDLE
from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until
from worker.models.model import open_bundle
from worker.queue.celery_app import celery_app
from worker.queue.reconcile import reconcile
from worker.queue.status import QueueMonitor
from worker.settings import BrokerSettings

DEMO = DEMO_BUNDLE.parent


def demo_jobs(s3: Any) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Jobs of the demo's tracks, uploaded, with the labels that the bundle gives their files."""
    model = open_bundle(DEMO_BUNDLE)
    slugs = [genre.slug for genre in model.manifest.genres]
    jobs = {}
    for line in (DEMO / "tracks.jsonl").read_text().splitlines():
        row = json.loads(line)
        encoded = (DEMO / row["audio"]).read_bytes()
        words = (DEMO / row["lyrics"]).read_bytes() if row["lyrics"] else None
        lyrics = put_audio(s3, row["lyrics"], words) if words else None
        message = job(row["track_id"], put_audio(s3, row["audio"], encoded), lyrics=lyrics)
        result = model.classify(encoded, words.decode() if words else None)
        labels = {slugs[label.genre] for label in model.rule.select_labels(result.prediction.scores)}
        jobs[row["track_id"]] = (message, labels)
    return jobs


def test_tracks_are_labelled_and_an_analyst_queries_them(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    jobs = demo_jobs(s3)
    with running_worker():
        push(*(message for message, _ in jobs.values()))
        wait_until(lambda: count(catalog, "track_current") == len(jobs))
    with catalog.connect() as connection:
        found = connection.execute(
            text("select track_id, array_agg(genre) as genres from analytics.track_label group by track_id")
        )
        predicted = {row.track_id: set(row.genres) for row in found}
        rows = connection.execute(text("select * from classification")).all()
    assert predicted == {track_id: labels for track_id, (_, labels) in jobs.items() if labels}
    manifest = read_bundle(DEMO_BUNDLE)
    for row in rows:
        assert len(row.scores) == len(manifest.genres)
        assert len(row.embedding) == manifest.embedding_width
        assert (row.provider, row.precision) == ("cpu", "fp32")
        assert 0 < row.analysed_seconds <= row.track_seconds
        assert {"fetch", "decode", "infer"} <= row.timings.keys()
    assert {row.lyrics for row in rows} == {"used", "absent"}


def test_a_python_producers_times_and_ids_are_accepted(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    """Celery serialises datetimes and UUIDs as typed objects."""
    track_id, audio = uuid.uuid4(), put_audio(s3, "typed.flac")
    with running_worker():
        push(
            job("now", audio) | {"enqueued_at": datetime.now(UTC)},
            job("typed", audio) | {"track_id": track_id},
            job("wrong", audio)
            | {"title": datetime(2026, 1, 31, tzinfo=UTC), "schema_version": uuid.uuid4()},
        )
        wait_until(lambda: count(catalog, "track_current") == 2 and count(catalog, "ingest_failure") == 1)
    with catalog.connect() as connection:
        labelled = set(connection.execute(text("select track_id from track_current")).scalars())
        payload = json.loads(connection.execute(text("select payload from ingest_failure")).scalar_one())
    assert labelled == {"now", str(track_id)}
    assert payload["title"] == "2026-01-31 00:00:00+00:00"


def test_failed_tracks_are_recorded_and_do_not_delay_others(
    environment: dict[str, str], catalog: Engine, s3: Any, bucket: str
) -> None:
    good = [job(f"good-{at}", put_audio(s3, f"good-{at}.flac", hertz=200 + 50 * at)) for at in range(4)]
    bad = [
        job("missing", {"bucket": bucket, "key": "nowhere.mp3"}),
        job("corrupt", put_audio(s3, "corrupt.flac", b"fLaC" + b"\x07" * 5000)),
        job("empty", put_audio(s3, "empty.mp3", b"")),
        job("text", put_audio(s3, "text.mp3", b"this is no sound at all")),
        job("silent", put_audio(s3, "silent.flac", encode(0 * tone(3), 22_050))),
        job("forbidden", {"bucket": "somebody-elses", "key": "k"}),
        job("words", put_audio(s3, "w.flac"), lyrics=put_audio(s3, "w.txt", b"\xff\xfa\x00\x01")),
        {"schema_version": 1, "track_id": "unfinished", "colour": "red"},
        job("older", put_audio(s3, "o.flac"), schema_version=9),
        {"title": "no id at all \x00"},
    ]
    with running_worker():
        push(*good[:2], *bad, *good[2:])
        wait_until(lambda: count(catalog, "track_current") + count(catalog, "ingest_failure") == 14)
    with catalog.connect() as connection:
        failures = connection.execute(text("select * from ingest_failure")).all()
        labelled = set(connection.execute(text("select track_id from track_current")).scalars())
    assert labelled == {"good-0", "good-1", "good-2", "good-3"}
    assert {row.track_id: (row.stage, row.error_class) for row in failures} == {
        "missing": ("open", "ObjectMissing"),
        "corrupt": ("decode", "CorruptAudio"),
        "empty": ("decode", "EmptyAudio"),
        "text": ("decode", "UnsupportedAudio"),
        "silent": ("decode", "SilentAudio"),
        "forbidden": ("open", "BucketNotAllowed"),
        "words": ("tokenise", "UnreadableLyrics"),
        "unfinished": ("validate", "JobInvalid"),
        "older": ("validate", "JobInvalid"),
        None: ("validate", "JobInvalid"),
    }
    reasons = {row.track_id: row.reason for row in failures}
    assert "nowhere.mp3 does not exist" in reasons["missing"]
    assert "colour" in reasons["unfinished"]
    sent = {message.get("track_id"): message for message in bad}
    assert {row.track_id: json.loads(row.payload) for row in failures} == sent


def test_the_same_job_twice_is_classified_once_and_force_classifies_it_again(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    once = job("twice", put_audio(s3, "twice.flac"))
    later = job("after", put_audio(s3, "after.flac"))

    def classified_at() -> Any:
        with catalog.connect() as connection:
            return connection.execute(
                text("select classified_at from classification where track_id = 'twice'")
            ).scalar_one()

    with running_worker(COGENRE_CONCURRENCY="1"):
        push(once)
        wait_until(lambda: count(catalog, "classification") == 1)
        first = classified_at()
        push(once, later)
        wait_until(lambda: count(catalog, "classification") == 2)
        assert classified_at() == first
        push(once | {"force": True})
        wait_until(lambda: classified_at() > first)
    assert count(catalog, "classification") == 2


def test_a_restored_audio_version_becomes_current_again(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    masters = [encode(tone(3, hertz=hertz), 22_050) for hertz in (300, 900)]

    def is_labelled(track_id: str) -> bool:
        return count(catalog, f"track_current where track_id = '{track_id}'") == 1

    with running_worker(COGENRE_CONCURRENCY="1"):
        for at, content in enumerate((*masters, masters[0])):
            after = f"after{at}"
            push(job("back", put_audio(s3, "back.flac", content)), job(after, put_audio(s3, "after.flac")))
            wait_until(partial(is_labelled, after))
    assert count(catalog, "classification where track_id = 'back'") == 2
    first = "(select min(id) from classification where track_id = 'back')"
    assert count(catalog, f"track_current where track_id = 'back' and classification_id = {first}") == 1


def test_a_labelled_track_resolves_its_failure(
    environment: dict[str, str], catalog: Engine, s3: Any, bucket: str
) -> None:
    message = job("late", {"bucket": bucket, "key": "late.flac"})
    with running_worker():
        push(message)
        wait_until(lambda: count(catalog, "analytics.failure") == 1)
        put_audio(s3, "late.flac")
        push(message)
        wait_until(lambda: count(catalog, "track_current") == 1)
    assert count(catalog, "analytics.failure") == 0
    assert count(catalog, "ingest_failure") == 1


def test_new_tracks_do_not_wait_for_the_backfill(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    app = celery_app(BrokerSettings.load())
    audio = put_audio(s3, "shared.flac")
    for at in range(20):
        app.send_task(TASK_NAME, kwargs=job(f"old-{at}", audio), queue=QUEUE_BACKFILL)
    for at in range(20):
        app.send_task(TASK_NAME, kwargs=job(f"new-{at}", audio))
    with running_worker(COGENRE_CONCURRENCY="1"):
        wait_until(lambda: count(catalog, "track_current") == 40)
    with catalog.connect() as connection:
        order = list(connection.execute(text("select track_id from classification order by id")).scalars())
    assert {track_id[:3] for track_id in order[:20]} == {"new"}


@pytest.mark.parametrize("round_", range(2))
def test_sigterm_loses_no_job(environment: dict[str, str], catalog: Engine, s3: Any, round_: int) -> None:
    jobs = [job(f"track-{at}", put_audio(s3, f"t{at}.flac", hertz=200 + 9 * at)) for at in range(60)]
    push(*jobs)
    with running_worker() as worker:
        wait_until(lambda: count(catalog, "track_current") >= 5)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    done = count(catalog, "track_current")
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    assert broker.llen("tracks") + broker.hlen("cogenre.unacked") + done == 60
    assert done < 60
    with running_worker():
        wait_until(lambda: count(catalog, "track_current") == 60)
    assert count(catalog, "classification") == 60
    assert count(catalog, "ingest_failure") == 0


S3_UNAVAILABLE = {"COGENRE_S3_ENDPOINT_URL": "http://127.0.0.1:9", "COGENRE_TRANSIENT_SECONDS": "0.5"}


def test_jobs_are_postponed_while_s3_does_not_answer(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    push(job("waiting", put_audio(s3, "waiting.flac")))
    with running_worker(**S3_UNAVAILABLE):
        wait_until(lambda: count(catalog, "track where attempts = 1 and due_at > now()") == 1)
    assert count(catalog, "ingest_failure") == 0
    with catalog.begin() as connection:
        connection.execute(text("update track set due_at = now() - interval '1 second'"))
    settings = BrokerSettings.load()
    assert reconcile(catalog, celery_app(settings), QueueMonitor(settings)) == 1
    with running_worker():
        wait_until(lambda: count(catalog, "track_current") == 1)
    assert count(catalog, "track where attempts = 0 and due_at is null") == 1


def test_a_worker_above_its_memory_limit_finishes_its_jobs_and_ends(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    push(*(job(f"track-{at}", put_audio(s3, f"{at}.flac", hertz=200 + 9 * at)) for at in range(4)))
    with running_worker(COGENRE_MAX_MEMORY_BYTES=str(2**20)) as worker:
        assert worker.wait(60) == 0
    done = count(catalog, "track_current")
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    left = (
        broker.llen("tracks")
        + broker.hlen("cogenre.unacked")
        + count(catalog, "track where due_at is not null")
    )
    assert left + done == 4


def test_a_track_fails_after_its_maximum_attempts(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    push(job("unavailable", put_audio(s3, "unavailable.flac")))
    with running_worker(**S3_UNAVAILABLE, COGENRE_MAX_ATTEMPTS="1"):
        wait_until(lambda: count(catalog, "ingest_failure") == 1)
    with catalog.connect() as connection:
        failure = connection.execute(text("select stage, error_class from ingest_failure")).one()
    assert tuple(failure) == ("deliver", "StorageUnavailable")
    assert count(catalog, "track where due_at is not null") == 0


def test_the_same_content_is_classified_once_and_catalogued_for_each_track(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    copies = [put_audio(s3, f"copy-{at}.flac") for at in range(6)]
    with running_worker():
        push(*(job(f"track-{at}", audio) for at, audio in enumerate(copies[:3])))
        wait_until(lambda: count(catalog, "track_current") == 3)
        push(*(job(f"track-{at}", audio) for at, audio in enumerate(copies) if at > 2))
        push(job("other-words", copies[0], lyrics={"text": "la la la"}))
        wait_until(lambda: count(catalog, "track_current") == 7)
        push(job("forced", copies[0], force=True))
        wait_until(lambda: count(catalog, "track_current") == 8)
    # a stage that was not run has no time
    assert count(catalog, "classification where timings ? 'infer'") == 3
    assert count(catalog, "(select distinct scores from classification where lyrics = 'absent') s") == 1
