"""Probes and metrics of a worker, over HTTP as Kubernetes and Prometheus request them."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import ConfigError
from tests.worker.processes import wait_until
from worker.models.batcher import Batcher
from worker.observe.endpoint import serve_http
from worker.observe.health import Health, Heartbeats
from worker.observe.metrics import TRACKS


@pytest.fixture
def health() -> Health:
    return Health(Heartbeats(max_age_seconds=0.2))


@pytest.fixture
def scrapes() -> list[float]:
    """Time of each scrape, of time.monotonic()."""
    return []


@pytest.fixture
def port(health: Health, scrapes: list[float]) -> Iterator[int]:
    with serve_http(0, health, lambda: scrapes.append(time.monotonic())) as port:
        assert port is not None
        yield port


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_ready_only_while_warm_and_not_draining(port: int, health: Health) -> None:
    assert get(port, "/readyz") == (503, "loading the model\n")
    health.set_warm()
    assert get(port, "/readyz") == (200, "ready\n")
    health.set_draining()
    assert get(port, "/readyz") == (503, "draining\n")
    assert get(port, "/livez") == (200, "live\n")


def test_live_while_every_registered_thread_sends_heartbeats(port: int, health: Health) -> None:
    assert get(port, "/livez") == (200, "live\n")
    health.heartbeats.send_heartbeat("inference")
    health.heartbeats.send_heartbeat("event loop")
    assert get(port, "/livez") == (200, "live\n")
    time.sleep(0.25)
    health.heartbeats.send_heartbeat("event loop")
    assert get(port, "/livez") == (503, "stuck: inference for 0 s\n")
    health.heartbeats.unregister("inference")
    assert get(port, "/livez") == (200, "live\n")


def test_metrics_are_scraped(port: int, health: Health, scrapes: list[float]) -> None:
    health.heartbeats.send_heartbeat("inference")
    TRACKS.labels("catalogued").inc()
    status, body = get(port, "/metrics")
    assert status == 200
    assert len(scrapes) == 1
    families = {family.name: family for family in text_string_to_metric_families(body)}
    outcomes = {sample.labels["outcome"]: sample.value for sample in families["cogenre_tracks"].samples}
    assert outcomes.keys() == {"catalogued", "skipped", "failed", "postponed"}
    assert outcomes["catalogued"] >= 1
    ages = {
        sample.labels["thread"]: sample.value for sample in families["cogenre_heartbeat_age_seconds"].samples
    }
    assert 0 <= ages["inference"] < 5
    assert families["cogenre_model_warm"].samples[0].value == 0
    assert "process_resident_memory_bytes" in families
    assert not [name for name in families if name.endswith("_created")]


def test_other_paths_are_not_found(port: int) -> None:
    assert get(port, "/")[0] == 404
    assert get(port, "/metrics/x")[0] == 404


def test_a_port_in_use_is_an_error_that_names_the_setting(health: Health) -> None:
    with (
        socket.create_server(("", 0)) as taken,
        pytest.raises(ConfigError, match="COGENRE_HTTP_PORT"),
        serve_http(taken.getsockname()[1], health, lambda: None),
    ):
        pass


def test_without_a_port_there_is_no_server(health: Health) -> None:
    with serve_http(None, health, lambda: None) as port:
        assert port is None


def test_a_batcher_sends_heartbeats_while_idle_and_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.models.batcher.HEARTBEAT_SECONDS", 0.01)
    heartbeats: list[None] = []
    batcher = Batcher[int, int](
        "beating",
        lambda waiting: [0],
        lambda group: group,
        capacity=1,
        send_heartbeat=lambda: heartbeats.append(None),
    )
    wait_until(lambda: len(heartbeats) > 2, seconds=5)
    assert batcher.submit(1).result(5) == 1
    batcher.close()
    for name in ("wait", "batch"):
        full = {"wait": "cogenre_batch_wait_seconds_count", "batch": "cogenre_batch_seconds_count"}[name]
        assert REGISTRY.get_sample_value(full, {"batcher": "beating"}) == 1
