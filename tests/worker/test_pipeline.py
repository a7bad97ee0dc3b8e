"""One track's way, without the queue."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from tests.worker.jobs import count, job, put_audio
from worker.observe.health import Health
from worker.service import open_pipeline
from worker.settings import WorkerSettings


def test_a_job_of_the_far_future_is_refused_and_leaves_the_track_alone(
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
