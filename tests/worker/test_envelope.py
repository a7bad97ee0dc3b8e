import base64
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.jobs import TrackJob
from worker.envelope import EnvelopeInvalid, sound

ENVELOPES = sorted((Path(__file__).parents[2] / "schemas" / "envelopes").glob("*.json"))
GOOD: dict[str, Any] = json.loads((ENVELOPES[0].parent / "minimal.json").read_text())

WRONG_PARTS: dict[str, dict[str, Any]] = {
    "no headers": {"headers": None},
    "no id": {"headers": {"task": "cogenre.classify_track"}},
    "other task": {"headers": {"task": "os.system", "id": "1"}},
    "later": {"headers": GOOD["headers"] | {"eta": "2030-01-01T00:00:00Z"}},
    "expires": {"headers": GOOD["headers"] | {"expires": 10}},
    "pickle": {"content-type": "application/x-python-serialize"},
    "no properties": {"properties": None},
    "unknown encoding": {"properties": {"body_encoding": "rot13"}},
    "no base64": {"body": "%%%", "properties": {"body_encoding": "base64"}},
    "delivery_info": {"properties": {"delivery_info": "tracks"}},
    "no body": {"body": None},
    "body no JSON": {"body": "garbage"},
    "body of two": {"body": "[[], {}]"},
    "args no list": {"body": "[{}, {}, {}]"},
    "kwargs no object": {"body": "[[], [], {}]"},
    "embed no object": {"body": "[[], {}, 1]"},
    "chained": {"body": '[[], {}, {"chain": [1]}]'},
}
MALFORMED: dict[str, bytes] = {
    "no JSON": b"garbage",
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "no object": b"[]",
    **{name: json.dumps(GOOD | part).encode() for name, part in WRONG_PARTS.items()},
}


@pytest.mark.parametrize("file", ENVELOPES, ids=lambda file: file.stem)
def test_golden_envelopes_are_sound_and_hold_a_job(file: Path) -> None:
    envelope = json.loads(sound(file.read_bytes(), "tracks"))
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body).decode()
    _, job, _ = json.loads(body)
    assert TrackJob.model_validate_json(json.dumps(job), strict=True).track_id == f"golden-{file.stem}"


@pytest.mark.parametrize("item", MALFORMED.values(), ids=MALFORMED)
def test_malformed_ones_are_refused(item: bytes) -> None:
    with pytest.raises(EnvelopeInvalid):
        sound(item, "tracks")


def test_every_message_gets_a_delivery_tag_of_its_own() -> None:
    item = json.dumps(GOOD).encode()
    tags = {json.loads(sound(item, "tracks"))["properties"]["delivery_tag"] for _ in range(3)}
    assert len(tags) == 3


def test_a_redelivered_message_stays_marked() -> None:
    marked = GOOD | {"headers": GOOD["headers"] | {"redelivered": True}}
    assert json.loads(sound(json.dumps(marked).encode(), "tracks"))["headers"]["redelivered"] is True
