"""The envelope of a job: what lies in the Redis list, Celery's message protocol 2.

Celery and kombu trust it. An envelope that lacks a part ends their worker, which then meets the same
message again, or is lost without a word. So each is checked before they see it.
"""

import base64
import json
import uuid
from typing import Any

from schemas.jobs import TASK_NAME


class EnvelopeInvalid(ValueError):
    """Why a message cannot be handed to Celery."""


def sound(item: bytes, queue: str) -> bytes:
    """`item` as Celery can take it, under a delivery tag of our own: a producer may have used one twice.

    Raises EnvelopeInvalid.
    """
    envelope = _object(_json(item, "the message"), "the message")
    headers = _object(envelope.get("headers"), "headers")
    if not isinstance(headers.get("id"), str) or not headers["id"]:
        raise EnvelopeInvalid("headers.id is missing")
    if headers.get("task") != TASK_NAME:
        raise EnvelopeInvalid(f"headers.task is {headers.get('task')!r}, not {TASK_NAME!r}")
    for field in ("eta", "expires"):
        if headers.get(field) is not None:
            raise EnvelopeInvalid(f"headers.{field} is not supported: a job is done as soon as it can be")
    if envelope.get("content-type") != "application/json" or envelope.get("content-encoding") != "utf-8":
        raise EnvelopeInvalid("content-type is not application/json in utf-8")
    properties = _object(envelope.get("properties"), "properties")
    _check_body(envelope.get("body"), properties.get("body_encoding"))
    properties["delivery_tag"] = str(uuid.uuid4())
    properties["delivery_info"] = {
        "exchange": "",
        "routing_key": queue,
        **_object(properties.get("delivery_info", {}), "properties.delivery_info"),
    }
    return json.dumps(envelope).encode()


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
    if any(_object(embed or {}, "body's embed").values()):
        raise EnvelopeInvalid("body's embed asks for other tasks")


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EnvelopeInvalid(f"{what} is not JSON: {error}") from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EnvelopeInvalid(f"{what} is not an object")
    return value
