"""Formats log records as one line each: text for people, or JSON for log collectors.

Passwords in URLs are redacted, because the text of an error may contain such a URL.
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
"""Track id of the job that this thread processes. None outside a job."""

TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""OpenTelemetry trace id of the job that this thread processes, in hexadecimal. None outside a trace."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Line breaks and control characters, which could start a new log line or control a terminal."""

PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")
"""The password in a URL `scheme://user:password@host`."""


def set_up(log_format: LogFormat) -> None:
    """Log to stderr in this format, including the records of Celery. The loggers' levels are not changed."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    setup_logging.connect(_keep_logging, weak=False)


def _keep_logging(**_: object) -> None:
    """Receive Celery's signal `setup_logging`: without a receiver Celery would replace the handlers."""


class TextFormatter(logging.Formatter):
    """Formats `2026-01-31 12:00:00,000 INFO worker.pipeline ['track-1']: message`, then any traceback.

    Control characters in the first line are escaped.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(track)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        track_id = TRACK_ID.get()
        # repr() escapes control characters in an id, which is set by the producer.
        record.track = f" [{track_id!r}]" if track_id else ""
        return _redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging's method
        return CONTROL.sub(_escape, super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """Formats one JSON object per line. `track_id`, `trace_id` and `exception` are left out if None."""

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
        present = {name: _redact(value) for name, value in fields.items() if value is not None}
        return json.dumps(present)


def _escape(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def _redact(text: str) -> str:
    return PASSWORD.sub(r"\1***@", text)
