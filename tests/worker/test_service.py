"""The Celery task around the pipeline, without a broker."""

import io
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject

from schemas.jobs import TASK_NAME
from worker import service
from worker.errors import TryLater
from worker.observe.logs import TextFormatter


class Pipeline:
    """A pipeline whose `process` raises `error`."""

    error: Exception

    def process(self, message: Any, redelivered: bool) -> None:
        raise self.error


class Leases:
    def hold(self, delivery_tag: str) -> nullcontext[None]:
        return nullcontext()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture(scope="module")
def task(pipeline: Pipeline) -> Any:
    """The task that calls `pipeline`. One for all tests: Celery shares tasks of a name between its apps."""
    app = Celery(set_as_current=False)
    service._register_task(app, pipeline, Leases())  # type: ignore[arg-type]
    return app.tasks[TASK_NAME]


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """The log of `worker.service`, in the format of a worker."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    service.log.addHandler(handler)
    yield stream
    service.log.removeHandler(handler)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TryLater("the catalog does not answer"), "returned to the queue, another worker"),
        (KeyError("unexpected"), "returned to the queue in 0 s, after an unexpected error"),
    ],
    ids=["try later", "unexpected"],
)
def test_the_log_line_of_a_returned_job_has_its_track_id(
    monkeypatch: pytest.MonkeyPatch,
    pipeline: Pipeline,
    task: Any,
    log_lines: io.StringIO,
    error: Exception,
    line: str,
) -> None:
    monkeypatch.setattr(service, "UNEXPECTED_ERROR_SECONDS", 0)
    monkeypatch.setattr(pipeline, "error", error, raising=False)
    task.push_request(properties={"delivery_tag": "tag"}, delivery_info={"routing_key": "tracks"})
    with pytest.raises(Reject):
        task.run(track_id="t1")
    assert f"worker.service ['t1']: {line}" in log_lines.getvalue()
