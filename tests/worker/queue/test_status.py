"""`cogenre status` and the gauges of the queues, against a real Redis and a real catalog."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from sqlalchemy import Engine, text

from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS, TrackJob
from tests.worker.jobs import job, push
from tests.worker.processes import wait_until
from worker.cli import main
from worker.cli.service import format_duration
from worker.local.stack import LocalStack
from worker.queue.envelope import encode_envelope
from worker.queue.gauges import overdue_gauge, update_queue_gauges
from worker.queue.status import QueueMonitor, QueueState
from worker.settings import BrokerSettings

AUDIO = {"bucket": "music", "key": "k"}


@pytest.fixture
def busy(environment: dict[str, str], catalog: Engine) -> Any:
    """Two jobs wait, one is in flight, there is one dead letter, three jobs failed.

    Three tracks are due; one of them is newer than the next waiting job, so it is not overdue.
    """
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    push(job("old", AUDIO, enqueued_at=hour_ago.isoformat()), job("new", AUDIO))
    client: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    client.hset("cogenre.unacked", "tag", "[]")
    client.lpush("cogenre.dead", "{}")
    with catalog.begin() as connection:
        connection.execute(
            text("""
                insert into track (id, job, enqueued_at, due_at)
                select 'lost' || n, '{}', now() - n * interval '40 minutes',
                    now() + case n when 4 then interval '1 hour' else interval '-1 minute' end
                from generate_series(1, 4) n
            """)
        )
        connection.execute(
            text("""
                insert into ingest_failure (track_id, stage, error_class, reason, payload)
                select 't' || n, 'decode', case n when 1 then 'EmptyAudio' else 'CorruptAudio' end, '', '{}'
                from generate_series(1, 3) n
            """)
        )
    return client


def status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["cogenre", "status", *options])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out + err


def test_the_table_shows_where_the_jobs_are(
    busy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = status(monkeypatch, capsys)
    assert code == 0
    rows = [
        [cell.strip() for cell in line.strip("│ ").split("│")] for line in output.splitlines() if "│" in line
    ]
    shown = {row[0]: row[1:] for row in rows}
    assert shown["waiting in tracks"][0] == "2"
    assert re.fullmatch(r"oldest: 1 h \d min", shown["waiting in tracks"][1])
    assert shown["waiting in backfill"] == ["0"]
    assert shown["in flight"][0] == "1"
    assert shown["open failures"] == ["3", "CorruptAudio 2, EmptyAudio 1"]
    assert shown["dead letters"][0] == "1"
    assert shown["overdue, for `cogenre reconcile`"][0] == "2"


def test_json_output(busy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = status(monkeypatch, capsys, "--json")
    assert code == 0
    now = json.loads(output)
    assert now["broker"]["queues"]["tracks"]["waiting"] == 2
    assert 3600 <= now["broker"]["queues"]["tracks"]["oldest_seconds"] < 3700
    assert now["broker"]["queues"]["backfill"] == {
        "waiting": 0,
        "oldest_seconds": None,
        "oldest_enqueued_seconds": None,
    }
    assert (now["broker"]["in_flight"], now["broker"]["dead_letters"]) == (1, 1)
    assert now["overdue"] == 2
    assert now["catalog"]["failures"] == {"CorruptAudio": 2, "EmptyAudio": 1}


def test_few_tracks_are_counted_and_many_are_estimated(
    busy: Any, catalog: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with catalog.begin() as connection:
        connection.execute(
            text("insert into track (id, job, enqueued_at) values ('a', '{}', now()), ('b', '{}', now())")
        )
        connection.execute(text("update pg_class set reltuples = 250000 where relname = 'track_current'"))
    _, output = status(monkeypatch, capsys, "--json")
    now = json.loads(output)["catalog"]
    assert (now["registered"], now["classified"]) == (6, 250_000)
    _, output = status(monkeypatch, capsys)
    assert re.search(r"tracks registered +│ 6 ", output)
    assert re.search(r"tracks classified +│ about 250,000 ", output)


def test_watch_repeats_until_interrupted(
    busy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds: list[float] = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        busy.lpop(QUEUE_TRACKS)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("worker.cli.service.sleep", sleep)
    code, output = status(monkeypatch, capsys, "--watch", "--json")
    assert code == 130
    waiting = [json.loads(line)["broker"]["queues"]["tracks"]["waiting"] for line in output.splitlines()]
    assert waiting == [2, 1, 0]


def test_watch_ends_with_one_line_when_the_broker_becomes_unreachable(
    busy: Any, stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worker.cli.service.sleep", lambda _: stack.redis.kill())
    try:
        code, output = status(monkeypatch, capsys, "--watch", "--json")
    finally:
        stack.redis.start()
    assert code == 2
    assert "the broker does not answer" in output.splitlines()[-1]


def test_the_wait_of_a_job_that_is_enqueued_again_starts_at_its_last_publication(
    environment: dict[str, str],
) -> None:
    """`next_enqueued_at` stays that of the first time: the reconciler compares tracks by it."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    waiting = TrackJob.model_validate(job("again", AUDIO, enqueued_at=hour_ago.isoformat()))
    client: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    client.lpush(QUEUE_TRACKS, encode_envelope(waiting, QUEUE_TRACKS))
    state = QueueMonitor(BrokerSettings.load()).read_state()
    assert 0 <= (state.queues[QUEUE_TRACKS].oldest_seconds or 0) < 60
    assert state.next_enqueued_at is not None
    assert abs(state.next_enqueued_at - hour_ago) < timedelta(seconds=5)
    client.lpop(QUEUE_TRACKS)
    older = json.loads(encode_envelope(waiting, QUEUE_TRACKS))
    older["headers"]["published_at"] = (hour_ago - timedelta(hours=1)).isoformat()
    client.lpush(QUEUE_TRACKS, json.dumps(older))
    oldest = QueueMonitor(BrokerSettings.load()).read_state().queues[QUEUE_TRACKS].oldest_seconds
    assert 7200 <= (oldest or 0) < 7300


@pytest.mark.parametrize(
    "message",
    ["", "not JSON", "[]", "{}", '{"body": 7, "properties": {}}',
     '{"body": "!", "properties": {"body_encoding": "base64"}}',
     '{"body": "[[], {\\"enqueued_at\\": \\"2026-01-01T00:00:00\\"}, {}]", "properties": {}}',
     '{"body": "[[], {\\"enqueued_at\\": 5}, {}]", "properties": {}}'],
)  # fmt: skip
def test_invalid_messages_in_a_queue_have_no_age(environment: dict[str, str], message: str) -> None:
    client: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    client.lpush(QUEUE_BACKFILL, message)
    assert QueueMonitor(BrokerSettings.load()).read_state().queues[QUEUE_BACKFILL] == QueueState(
        1, None, None
    )


def test_queue_gauges_are_updated_and_are_nan_during_an_outage(
    busy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def value(name: str, **labels: str) -> float:
        found = REGISTRY.get_sample_value(name, labels)
        assert found is not None
        return found

    update_queue_gauges(QueueMonitor(BrokerSettings.load()))
    assert value("cogenre_queue_jobs", queue="tracks") == 2
    assert 3600 <= value("cogenre_queue_oldest_seconds", queue="tracks") < 3700
    assert value("cogenre_queue_oldest_seconds", queue="backfill") == 0
    assert (value("cogenre_unacked_jobs"), value("cogenre_dead_letter_messages")) == (1, 1)
    monkeypatch.setenv("COGENRE_BROKER_URL", "redis://127.0.0.1:9/0")
    update_queue_gauges(QueueMonitor(BrokerSettings.load()))
    assert math.isnan(value("cogenre_queue_jobs", queue="tracks"))
    assert math.isnan(value("cogenre_dead_letter_messages"))


def test_the_gauge_of_overdue_tracks_is_updated_in_the_background(
    busy: Any, catalog: Engine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gauge() -> float | None:
        return REGISTRY.get_sample_value("cogenre_overdue_tracks")

    monkeypatch.setattr("worker.queue.gauges.OVERDUE_INTERVAL_SECONDS", 0.05)
    with overdue_gauge(catalog, QueueMonitor(BrokerSettings.load())):
        wait_until(lambda: gauge() == 2, 20)
        stack.redis.kill()
        try:
            wait_until(lambda: math.isnan(gauge() or 0), 20)
        finally:
            stack.redis.start()
        wait_until(lambda: not math.isnan(gauge() or 0), 20)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (65, "1 min 5 s"), (3599.7, "1 h 0 min"), (100 * 3600, "100 h 0 min")],
)
def test_durations_as_text(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected
