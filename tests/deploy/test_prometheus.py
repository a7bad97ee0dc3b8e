"""A real Prometheus with the rules of deploy/prometheus scrapes a real worker."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS, TASK_NAME
from tests.deploy.monitoring import RULE_FILES, alerts, metric_names, prometheus_queries
from tests.faulty_s3 import FaultyS3
from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until
from worker.local.stack import HOST, LocalStack, free_port
from worker.queue.celery_app import celery_app
from worker.settings import BrokerSettings

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed: `apt-get install prometheus`"
)

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules-*.yaml]
scrape_configs:
  - job_name: cogenre
    static_configs: [{{targets: ["{host}:{port}"]}}]
"""


class Prometheus:
    """A client of a running Prometheus server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, query: str) -> list[Any]:
        found: list[Any] = self.get("query", query=query)["result"]
        return found

    def firing(self) -> dict[str, Any]:
        """Return the firing alerts by name."""
        return {
            alert["labels"]["alertname"]: alert
            for alert in self.get("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._url}/-/ready", timeout=2).close()
        except OSError:
            return False
        return True


@contextmanager
def prometheus(folder: Path, worker_port: int) -> Iterator[Prometheus]:
    """Run a Prometheus server that scrapes the worker every second.

    Alerts fire after one second instead of minutes; the rules are otherwise unchanged.
    """
    for file in RULE_FILES:
        soon = re.sub(r"^( +for:) \d+m$", r"\1 1s", file.read_text(), flags=re.MULTILINE)
        (folder / f"rules-{file.name}").write_text(soon)
    (folder / "prometheus.yaml").write_text(CONFIGURATION.format(host=HOST, port=worker_port))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    server = Prometheus(port)
    try:
        wait_until(server.is_ready)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def test_the_backlog_alert_fires_only_while_tracks_wait(
    environment: dict[str, str], stack: LocalStack, catalog: Engine, s3: Any, tmp_path: Path
) -> None:
    port = free_port()
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with (
        FaultyS3(stack.s3_port).serving() as faulty,
        running_worker(
            COGENRE_HTTP_PORT=str(port), COGENRE_CONCURRENCY="1", COGENRE_S3_ENDPOINT_URL=faulty.url
        ),
        prometheus(tmp_path, port) as server,
    ):
        wait_until(lambda: bool(server.query("cogenre_model_warm == 1")))
        time.sleep(3)  # long enough for an alert on an idle worker
        assert "CogenreBacklogOld" not in server.firing()
        faulty.down.set()
        push(
            *(
                job(f"t{at}", put_audio(s3, f"t{at}.flac", hertz=200 + at)) | {"enqueued_at": long_ago}
                for at in range(5)
            )
        )
        wait_until(lambda: "CogenreBacklogOld" in server.firing())
        alert = server.firing()["CogenreBacklogOld"]
        assert re.fullmatch(
            r"The next new track has waited in the queue for 1h \d+m \d+s\.", alert["annotations"]["summary"]
        )
        assert alert["annotations"]["runbook_url"].startswith("docs/runbook.md#")
        faulty.down.clear()
        wait_until(lambda: count(catalog, "track_current") == 5)
        wait_until(lambda: "CogenreBacklogOld" not in server.firing())


def test_every_query_returns_data_from_a_busy_worker(
    environment: dict[str, str], catalog: Engine, s3: Any, tmp_path: Path
) -> None:
    """Queries of recording rules and panels. Alerts return nothing in normal operation."""
    port = free_port()
    broker = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    with running_worker(COGENRE_HTTP_PORT=str(port)), prometheus(tmp_path, port) as server:
        wait_until(lambda: bool(server.query("cogenre_model_warm == 1")))
        push(job("missing", {"bucket": "cogenre-local", "key": "nowhere.mp3"}))
        push(*(job(f"t{at}", put_audio(s3, f"t{at}.flac", hertz=200 + at)) for at in range(4)))
        celery_app(BrokerSettings.load()).send_task(
            TASK_NAME, kwargs=job("old", put_audio(s3, "old.flac")), queue=QUEUE_BACKFILL
        )
        broker.lpush(QUEUE_TRACKS, b"not a message")
        wait_until(lambda: count(catalog, "track_current") == 5)
        queries = [query for query in prometheus_queries() if query.where not in alerts()]
        wait_until(lambda: all(server.query(query.text) for query in queries), seconds=30)
        wait_until(lambda: server.firing().get("CogenreDeadLetters", {}).get("value") == "1e+00")
        # A recording rule creates its series at its next evaluation.
        named = {name for query in prometheus_queries() for name in metric_names(query.text)}
        wait_until(lambda: named <= set(server.get("label/__name__/values")), seconds=30)
