"""The pipeline of one track, without the queue."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.worker.jobs import count, job, put_audio
from tests.worker.processes import wait_until
from worker.catalog.tracks import TrackCatalog
from worker.models.serving import ServedModel
from worker.observe.health import Health
from worker.service import open_pipeline
from worker.settings import WorkerSettings


def test_a_job_from_the_far_future_fails_and_does_not_change_the_track(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    audio = put_audio(s3, "one.flac")
    now = datetime.now(UTC)
    with open_pipeline(WorkerSettings.load(), Health()) as pipeline:
        ahead = job("track", audio) | {"enqueued_at": (now + timedelta(days=2)).isoformat()}
        assert pipeline.process(ahead) == "failed"
        assert count(catalog, "track") == 0
        # A producer's clock may be wrong by its time zone.
        ahead = job("zone", audio) | {"enqueued_at": (now + timedelta(hours=14)).isoformat()}
        assert pipeline.process(ahead) == "catalogued"
    with catalog.connect() as connection:
        (reason,) = connection.execute(text("select reason from ingest_failure")).scalars()
    assert "more than a day ahead" in reason


def test_without_a_model_a_job_is_postponed(environment: dict[str, str], catalog: Engine, s3: Any) -> None:
    with open_pipeline(WorkerSettings.load(), Health()) as pipeline:
        pass
    assert pipeline.process(job("late", put_audio(s3, "one.flac"))) == "postponed"
    with catalog.connect() as connection:
        assert connection.execute(text("select due_at is not null from track")).scalar_one()


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The track ids of all look-ups in the catalog, in their order."""
    track_ids: list[str] = []
    look_up = TrackCatalog.find_result

    def counted(catalog: TrackCatalog, track_id: str, input_hash: bytes) -> Any:
        track_ids.append(track_id)
        return look_up(catalog, track_id, input_hash)

    monkeypatch.setattr(TrackCatalog, "find_result", counted)
    return track_ids


def test_a_track_is_looked_up_once(
    environment: dict[str, str], catalog: Engine, s3: Any, look_ups: list[str]
) -> None:
    audio, copy = put_audio(s3, "one.flac"), put_audio(s3, "copy.flac")
    with open_pipeline(WorkerSettings.load(), Health()) as pipeline:
        assert pipeline.process(job("new", audio)) == "catalogued"
        assert pipeline.process(job("new", audio)) == "skipped"
        assert pipeline.process(job("copy", copy)) == "catalogued"
        assert look_ups == ["new", "new", "copy"]
        assert pipeline.process(job("new", audio, force=True)) == "catalogued"
        assert look_ups == ["new", "new", "copy"], "a forced job is not looked up"
    assert count(catalog, "classification where timings ? 'infer'") == 1


@pytest.mark.parametrize("first_fails", [False, True])
def test_a_track_that_waits_for_another_one_is_looked_up_again_only_if_that_one_fails(
    environment: dict[str, str],
    catalog: Engine,
    s3: Any,
    look_ups: list[str],
    monkeypatch: pytest.MonkeyPatch,
    first_fails: bool,
) -> None:
    first_predicts, go_on = threading.Event(), threading.Event()
    predictions: list[None] = []
    predict = ServedModel.predict

    def held(model: ServedModel, *arguments: Any) -> Any:
        predictions.append(None)
        if len(predictions) == 1:
            first_predicts.set()
            assert go_on.wait(30)
            if first_fails:
                raise ValueError("this track only")
        return predict(model, *arguments)

    monkeypatch.setattr(ServedModel, "predict", held)
    audio, copy = put_audio(s3, "one.flac"), put_audio(s3, "copy.flac")
    with open_pipeline(WorkerSettings.load(), Health()) as pipeline, ThreadPoolExecutor(2) as threads:
        first = threads.submit(pipeline.process, job("first", audio))
        assert first_predicts.wait(30)
        second = threads.submit(pipeline.process, job("second", copy))
        wait_until(lambda: look_ups == ["first", "second"])
        go_on.set()
        assert first.result(30) == ("failed" if first_fails else "catalogued")
        assert second.result(30) == "catalogued"
    assert look_ups == ["first", "second"] + ["second"] * first_fails
    assert len(predictions) == (2 if first_fails else 1)
