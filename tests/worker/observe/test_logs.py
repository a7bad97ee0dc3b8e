import json
import logging
import subprocess
import sys

import pytest

from worker.observe.logs import TRACE_ID, TRACK_ID, JsonFormatter, TextFormatter


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("worker.pipeline", logging.WARNING, __file__, 1, message, arguments, exc_info)


def test_a_json_record_is_one_line_with_the_track_id_and_trace_id() -> None:
    tokens = TRACK_ID.set("t\n1\ud800"), TRACE_ID.set("ab" * 16)
    try:
        line = JsonFormatter().format(record("line one\nline two: %s", "ä"))
    finally:
        TRACK_ID.reset(tokens[0])
        TRACE_ID.reset(tokens[1])
    assert "\n" not in line
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "WARNING",
        "logger": "worker.pipeline",
        "message": "line one\nline two: ä",
        "track_id": "t\n1\ud800",
        "trace_id": "ab" * 16,
    }


def test_outside_a_job_there_is_no_track_id() -> None:
    assert json.loads(JsonFormatter().format(record("x"))).keys() == {"time", "level", "logger", "message"}


def test_a_traceback_is_one_json_field() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        fields = json.loads(JsonFormatter().format(record("x", error=error)))
    assert fields["exception"].endswith("ValueError: broken")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_passwords_in_urls_are_redacted(formatter: logging.Formatter) -> None:
    error = ValueError("postgresql://u:hushhush@db/x")
    line = formatter.format(record("cannot reach redis://:hushhush@host:6379/0", error=error))
    assert "hushhush" not in line
    assert "redis://:***@host:6379/0" in line
    assert "postgresql://u:***@db/x" in line


def test_a_track_id_cannot_forge_a_log_line() -> None:
    token = TRACK_ID.set("x\n2026 ERROR forged")
    try:
        line = TextFormatter().format(record("message"))
    finally:
        TRACK_ID.reset(token)
    assert line.endswith(r"WARNING worker.pipeline ['x\n2026 ERROR forged']: message")
    assert "\n" not in line


def test_a_multi_line_message_is_one_log_line() -> None:
    line = TextFormatter().format(record("refused: %s", "one\ntwo\r\x1b[2J\u2028three ä"))
    assert line.endswith(r"refused: one\ntwo\r\x1b[2J\u2028three ä")


def test_celery_does_not_replace_the_handlers() -> None:
    """In a process of its own, because the set-up of logging cannot be undone."""
    script = """
import logging
from celery import Celery
from worker.observe.logs import set_up
logging.basicConfig(level=logging.WARNING)
set_up("json")
app = Celery()
app.log.setup(loglevel="INFO", redirect_stdouts=False)
logging.getLogger("celery.worker").warning("from celery")
app.log.get_default_logger().warning("default")
from celery.utils.log import get_task_logger
get_task_logger("a_task").warning("from a task")
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert [json.loads(line)["message"] for line in ran.stderr.splitlines()] == [
        "from celery",
        "default",
        "from a task",
    ]
