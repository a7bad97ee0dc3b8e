"""The envelope of a job: the message in the Redis list, in Celery's message protocol 2.

Celery and kombu do not validate envelopes. If a part is missing or has the wrong type, the worker stops and
receives the same message again after its restart, or the message is dropped without a log line. So every
envelope is validated before Celery and kombu receive it, and reduced to the parts that a job needs.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.jobs import TASK_NAME, TrackJob

PUBLISHED_AT = "published_at"
"""Header: time at which this message was published, in ISO 8601. When a job is enqueued again, this value is
new, while `enqueued_at` stays the same."""

KEPT_HEADERS = ("id", "task", "lang", "traceparent", PUBLISHED_AT)
"""Text headers that are passed on. Others are dropped, because Celery acts on some: time limits, stamps,
chains, compression."""


class EnvelopeInvalid(ValueError):
    """The message is not an envelope that Celery can process. The text names the invalid part."""


def encode_envelope(job: TrackJob, queue: str) -> bytes:
    """Return the envelope of a job that is published to `queue` now."""
    body = json.dumps([[], job.model_dump(mode="json"), {}])
    headers = {"id": str(uuid.uuid4()), "task": TASK_NAME, PUBLISHED_AT: datetime.now(UTC).isoformat()}
    return _encode(body, None, headers, queue, redelivered=False)


def validate_envelope(item: bytes, queue: str) -> bytes:
    """Return `item`, popped from `queue`, reduced to the parts that a job needs.

    The delivery tag is replaced, because producers may use the same tag twice. Raises EnvelopeInvalid.
    """
    message = _require_object(_parse_json(item, "the message"), "the message")
    headers = _require_object(message.get("headers"), "headers")
    if not headers.get("id"):
        raise EnvelopeInvalid("headers.id is missing")
    if headers.get("task") != TASK_NAME:
        raise EnvelopeInvalid(f"headers.task is {headers.get('task')!r}, not {TASK_NAME!r}")
    for field in ("eta", "expires"):
        if headers.get(field) is not None:
            raise EnvelopeInvalid(f"headers.{field} is not supported: jobs are processed as soon as possible")
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        raise EnvelopeInvalid("content-type is not application/json in utf-8")
    properties = _require_object(message.get("properties"), "properties")
    encoding = properties.get("body_encoding")
    _check_body(message.get("body"), encoding)
    info = _require_object(properties.get("delivery_info", {}), "properties.delivery_info")
    redelivered = headers.get("redelivered") is True or info.get("redelivered") is True
    return _encode(message["body"], encoding, _kept_headers(headers), queue, redelivered)


def parse_published_at(headers: Mapping[str, Any]) -> datetime | None:
    """Return the time in the header `published_at`.

    None if the header is missing or is not an ISO 8601 time with an offset.
    """
    header = headers.get(PUBLISHED_AT)
    try:
        moment = datetime.fromisoformat(header) if isinstance(header, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _encode(body: str, encoding: str | None, headers: dict[str, str], queue: str, redelivered: bool) -> bytes:
    """Return an envelope with a new delivery tag and only the parts that a worker reads."""
    return json.dumps(
        {
            "body": body,
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {**headers, "redelivered": redelivered},
            "properties": {
                "body_encoding": encoding,
                "delivery_tag": str(uuid.uuid4()),
                # kombu returns a rejected message to this queue, from which it was popped.
                "delivery_info": {"exchange": "", "routing_key": queue, "redelivered": redelivered},
            },
        }
    ).encode()


def _kept_headers(headers: dict[str, Any]) -> dict[str, str]:
    """Return the headers in `KEPT_HEADERS`. Raises EnvelopeInvalid if one is not text."""
    kept = {name: headers[name] for name in KEPT_HEADERS if headers.get(name) is not None}
    for name, value in kept.items():
        if not isinstance(value, str):
            raise EnvelopeInvalid(f"headers.{name} is not text")
    return kept


def _check_body(body: object, encoding: object) -> None:
    """Raise EnvelopeInvalid unless `body` is JSON of [args, kwargs, embed] as Celery expects it."""
    if not isinstance(body, str):
        raise EnvelopeInvalid("body is not a string")
    if encoding not in (None, "base64"):
        raise EnvelopeInvalid(f"properties.body_encoding is {encoding!r}, not base64 or null")
    try:
        text = base64.b64decode(body, validate=True) if encoding else body.encode()
    except ValueError as error:
        raise EnvelopeInvalid(f"body is not base64: {error}") from error
    parts = _parse_json(text, "body")
    if not isinstance(parts, list) or len(parts) != 3:
        raise EnvelopeInvalid("body is not a list of three: args, kwargs, embed")
    arguments, keywords, embed = parts
    if not isinstance(arguments, list) or not isinstance(keywords, dict):
        raise EnvelopeInvalid("body's args are not a list, or its kwargs are not an object")
    if "self" in keywords:  # Celery passes an argument of this name to every task
        raise EnvelopeInvalid("body's kwargs contain `self`, an argument name that Celery reserves")
    if any(_require_object(embed or {}, "body's embed").values()):
        raise EnvelopeInvalid("body's embed contains callbacks or chains, which are not supported")


def _parse_json(text: bytes, what: str) -> Any:
    """Parse JSON as kombu does, which converts marked values to objects. Raises EnvelopeInvalid."""
    from kombu.utils.json import loads  # not at the top: most commands only encode envelopes

    try:
        return loads(text)
    except Exception as error:  # the constructor of a marked type may raise any exception
        raise EnvelopeInvalid(f"{what} is not JSON: {error}") from error


def _require_object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EnvelopeInvalid(f"{what} is not an object")
    return value
