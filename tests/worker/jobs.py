"""Jobs for tests, with their audio in the bucket of the local stack."""

from datetime import UTC, datetime
from typing import Any

from celery import Celery
from sqlalchemy import Engine, text

from schemas.jobs import QUEUE_TRACKS, TASK_NAME
from tests.audio import encode, tone
from worker.local.stack import BUCKET
from worker.queue.celery_app import celery_app
from worker.settings import BrokerSettings


def put_audio(s3: Any, key: str, content: bytes | None = None, hertz: float = 440) -> dict[str, Any]:
    """Upload `content`, or a tone of 3 s. Return its reference for a job."""
    s3.put_object(
        Bucket=BUCKET, Key=key, Body=encode(tone(3, hertz=hertz), 22_050) if content is None else content
    )
    return {"bucket": BUCKET, "key": key}


def job(track_id: str, audio: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "track_id": track_id,
        "audio": audio,
        "enqueued_at": datetime.now(UTC).isoformat(),
        **fields,
    }


def push(*messages: dict[str, Any]) -> None:
    """Publish messages as any Celery producer would, without cogenre's checks."""
    app: Celery = celery_app(BrokerSettings.load())
    for message in messages:
        app.send_task(TASK_NAME, kwargs=message, queue=QUEUE_TRACKS)


def count(catalog: Engine, table: str) -> int:
    with catalog.connect() as connection:
        return int(connection.execute(text(f"select count(*) from {table}")).scalar_one())
