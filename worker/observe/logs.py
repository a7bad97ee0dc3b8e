"""Logs: one line a record, as text for people or as JSON for collectors.

Nobody means to log a password; an error's text may quote a URL that holds one, so those are blotted out.
"""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from celery.signals import setup_logging

from worker.settings import LogFormat

TRACK_ID: ContextVar[str | None] = ContextVar("track_id", default=None)
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""Of the job that the thread has in hand."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would begin a line, or speak to a terminal."""

PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")


def set_up(log_format: LogFormat) -> None:
    """Log to stderr, Celery's own records included. Loggers keep their levels."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    setup_logging.connect(_leave_alone, weak=False)


def _leave_alone(**_: object) -> None:
    """Celery sets logging up by itself unless somebody answers its signal."""


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO worker.pipeline ['track-1']: message`, and a traceback under it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(track)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        track_id = TRACK_ID.get()
        record.track = f" [{track_id!r}]" if track_id else ""  # repr: producers write it
        return _blotted(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return CONTROL.sub(_escaped, super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """An object a line; `track_id`, `trace_id` and `exception` only where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "track_id": TRACK_ID.get(),
            "trace_id": TRACE_ID.get(),
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        present = {name: _blotted(value) for name, value in fields.items() if value is not None}
        return json.dumps(present)


def _escaped(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def _blotted(text: str) -> str:
    return PASSWORD.sub(r"\1***@", text)
