import base64
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.jobs import TrackJob
from worker.queue.envelope import EnvelopeInvalid, validate_envelope

ENVELOPES = sorted((Path(__file__).parents[3] / "schemas" / "envelopes").glob("*.json"))
GOOD: dict[str, Any] = json.loads((ENVELOPES[0].parent / "minimal.json").read_text())
UNKNOWN = {"__type__": "unknown", "__value__": 1}
"""kombu converts values with such a mark to objects, or raises."""

WRONG_PARTS: dict[str, dict[str, Any]] = {
    "no headers": {"headers": None},
    "no id": {"headers": {"task": "cogenre.classify_track"}},
    "id is not text": {"headers": GOOD["headers"] | {"id": 5}},
    "traceparent is not text": {"headers": GOOD["headers"] | {"traceparent": {}}},
    "unknown type in the envelope": {"unknown": UNKNOWN},
    "other task": {"headers": {"task": "os.system", "id": "1"}},
    "eta": {"headers": GOOD["headers"] | {"eta": "2030-01-01T00:00:00Z"}},
    "expires": {"headers": GOOD["headers"] | {"expires": 10}},
    "pickle": {"content-type": "application/x-python-serialize"},
    "no properties": {"properties": None},
    "unknown encoding": {"properties": {"body_encoding": "rot13"}},
    "body is not base64": {"body": "%%%", "properties": {"body_encoding": "base64"}},
    "delivery_info": {"properties": {"delivery_info": "tracks"}},
    "no body": {"body": None},
    "body is not JSON": {"body": "garbage"},
    "body of two": {"body": "[[], {}]"},
    "args is not a list": {"body": "[{}, {}, {}]"},
    "kwargs is not an object": {"body": "[[], [], {}]"},
    "kwarg with the name of Celery's argument": {"body": '[[], {"self": 1}, {}]'},
    "embed is not an object": {"body": "[[], {}, 1]"},
    "unknown type in the body": {"body": json.dumps([[], {"title": UNKNOWN}, {}])},
    "invalid time": {"body": json.dumps([[], {"at": {"__type__": "datetime", "__value__": 5}}, {}])},
    "chained": {"body": '[[], {}, {"chain": [1]}]'},
}
HARMFUL_PARTS: dict[str, dict[str, Any]] = {
    "time limit": {"headers": GOOD["headers"] | {"timelimit": 5}},
    "stamps": {"headers": GOOD["headers"] | {"stamped_headers": 5, "stamps": 3}},
    "compressed": {"headers": GOOD["headers"] | {"compression": "zlib"}},
    "other delivery_info": {
        "properties": {"delivery_info": {"exchange": "celery", "routing_key": "celery"}, "priority": "x"}
    },
    "kwarg with the name of the task's argument": {
        "body": json.dumps([[], json.loads(GOOD["body"])[1] | {"task": 1}, {}])
    },
}
"""Valid jobs with parts that Celery would act on or fail on. These parts are removed."""

MALFORMED: dict[str, bytes] = {
    "not JSON": b"garbage",
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "not an object": b"[]",
    **{name: json.dumps(GOOD | part).encode() for name, part in WRONG_PARTS.items()},
}


@pytest.mark.parametrize("file", ENVELOPES, ids=lambda file: file.stem)
def test_golden_envelopes_are_valid_and_contain_a_job(file: Path) -> None:
    envelope = json.loads(validate_envelope(file.read_bytes(), "tracks"))
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body).decode()
    _, job, _ = json.loads(body)
    assert TrackJob.model_validate_json(json.dumps(job), strict=True).track_id == f"golden-{file.stem}"


@pytest.mark.parametrize("item", MALFORMED.values(), ids=MALFORMED)
def test_malformed_envelopes_are_rejected(item: bytes) -> None:
    with pytest.raises(EnvelopeInvalid):
        validate_envelope(item, "tracks")


def test_every_message_gets_a_new_delivery_tag() -> None:
    item = json.dumps(GOOD).encode()
    tags = {json.loads(validate_envelope(item, "tracks"))["properties"]["delivery_tag"] for _ in range(3)}
    assert len(tags) == 3


@pytest.mark.parametrize("part", HARMFUL_PARTS.values(), ids=HARMFUL_PARTS)
def test_only_the_parts_that_a_job_needs_are_passed_on(part: dict[str, Any]) -> None:
    envelope = json.loads(validate_envelope(json.dumps(GOOD | part).encode(), "backfill"))
    assert envelope.keys() == GOOD.keys()
    assert envelope["headers"] == GOOD["headers"] | {"redelivered": False}
    assert envelope["properties"].keys() == {"body_encoding", "delivery_tag", "delivery_info"}
    delivery_info = {"exchange": "", "routing_key": "backfill", "redelivered": False}
    assert envelope["properties"]["delivery_info"] == delivery_info


def test_the_traceparent_is_passed_on() -> None:
    traced = GOOD | {"headers": GOOD["headers"] | {"traceparent": "00-1-2-01"}}
    envelope = json.loads(validate_envelope(json.dumps(traced).encode(), "tracks"))
    assert envelope["headers"]["traceparent"] == "00-1-2-01"


def test_a_redelivered_message_stays_marked() -> None:
    """kombu writes the mark in both places and reads the second."""
    for marked in (
        GOOD | {"headers": GOOD["headers"] | {"redelivered": True}},
        GOOD | {"properties": {"delivery_info": {"redelivered": True}}},
    ):
        envelope = json.loads(validate_envelope(json.dumps(marked).encode(), "tracks"))
        assert envelope["headers"]["redelivered"] is True
        assert envelope["properties"]["delivery_info"]["redelivered"] is True
