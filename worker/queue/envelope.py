"""The envelope of a job: what lies in the Redis list, Celery's message protocol 2.

Celery and kombu trust it. An envelope that lacks a part, or has one of another type, ends their worker,
which then meets the same message again, or is lost without a word. So each is checked before they see it,
and they see only the parts that a job needs.
"""

import base64
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from kombu.utils.json import loads

from schemas.jobs import TASK_NAME, TrackJob

KEPT_HEADERS = ("id", "task", "lang", "traceparent", "published_at")
"""Text, all of them. Celery acts on others: time limits, stamps, chains, compression."""


class EnvelopeInvalid(ValueError):
    """Why a message cannot be handed to Celery."""


def envelope(job: TrackJob, queue: str) -> bytes:
    """A job as it is pushed to `queue`, now."""
    body = json.dumps([[], job.model_dump(mode="json"), {}])
    headers = {"id": str(uuid.uuid4()), "task": TASK_NAME, "published_at": datetime.now(UTC).isoformat()}
    return _message(body, None, headers, queue, redelivered=False)


def sound(item: bytes, queue: str) -> bytes:
    """`item` as Celery can take it, under a delivery tag of our own: a producer may have used one twice.

    Raises EnvelopeInvalid.
    """
    message = _object(_json(item, "the message"), "the message")
    headers = _object(message.get("headers"), "headers")
    if not headers.get("id"):
        raise EnvelopeInvalid("headers.id is missing")
    if headers.get("task") != TASK_NAME:
        raise EnvelopeInvalid(f"headers.task is {headers.get('task')!r}, not {TASK_NAME!r}")
    for field in ("eta", "expires"):
        if headers.get(field) is not None:
            raise EnvelopeInvalid(f"headers.{field} is not supported: a job is done as soon as it can be")
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        raise EnvelopeInvalid("content-type is not application/json in utf-8")
    properties = _object(message.get("properties"), "properties")
    encoding = properties.get("body_encoding")
    _check_body(message.get("body"), encoding)
    info = _object(properties.get("delivery_info", {}), "properties.delivery_info")
    redelivered = headers.get("redelivered") is True or info.get("redelivered") is True
    return _message(message["body"], encoding, _texts(headers), queue, redelivered)


def _message(
    body: str, encoding: str | None, headers: dict[str, str], queue: str, redelivered: bool
) -> bytes:
    """Only what a worker reads."""
    return json.dumps(
        {
            "body": body,
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {**headers, "redelivered": redelivered},
            "properties": {
                "body_encoding": encoding,
                "delivery_tag": str(uuid.uuid4()),
                # Where the message goes when it is handed back: to the queue that it came from.
                "delivery_info": {"exchange": "", "routing_key": queue, "redelivered": redelivered},
            },
        }
    ).encode()


def _texts(headers: dict[str, Any]) -> dict[str, str]:
    kept = {name: headers[name] for name in KEPT_HEADERS if headers.get(name) is not None}
    for name, value in kept.items():
        if not isinstance(value, str):
            raise EnvelopeInvalid(f"headers.{name} is not text")
    return kept


def _check_body(body: object, encoding: object) -> None:
    if not isinstance(body, str):
        raise EnvelopeInvalid("body is not a string")
    if encoding not in (None, "base64"):
        raise EnvelopeInvalid(f"properties.body_encoding is {encoding!r}, not base64 or null")
    try:
        text = base64.b64decode(body, validate=True) if encoding else body.encode()
    except ValueError as error:
        raise EnvelopeInvalid(f"body is not base64: {error}") from error
    parts = _json(text, "body")
    if not isinstance(parts, list) or len(parts) != 3:
        raise EnvelopeInvalid("body is not a list of three: args, kwargs, embed")
    arguments, keywords, embed = parts
    if not isinstance(arguments, list) or not isinstance(keywords, dict):
        raise EnvelopeInvalid("body's args are not a list or its kwargs not an object")
    if "self" in keywords:  # Celery calls a task with its own of that name
        raise EnvelopeInvalid("body's kwargs name `self`")
    if any(_object(embed or {}, "body's embed").values()):
        raise EnvelopeInvalid("body's embed asks for other tasks")


def _json(text: bytes, what: str) -> Any:
    """As kombu reads it, which makes objects of some: what it cannot make is refused here."""
    try:
        return loads(text)
    except Exception as error:  # a type's own constructor may raise anything
        raise EnvelopeInvalid(f"{what} is not JSON: {error}") from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EnvelopeInvalid(f"{what} is not an object")
    return value
