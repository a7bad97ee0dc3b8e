"""Two workers in separate network namespaces: one loses its connection to Redis, and no job is lost.

```
  namespace of worker 1              host                    namespace of worker 2
  198.18.0.2 ──── 198.18.0.1  Redis ─────────── 198.18.0.9  ──── 198.18.0.10
  198.18.0.6 ──── 198.18.0.5  S3, Postgres ──── 198.18.0.13 ──── 198.18.0.14
```

Each line is a separate link, so that only the one to Redis can be cut. Packets are then dropped silently.
"""

import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from tests.conftest import ROOT
from tests.worker.jobs import count, job, put_audio
from tests.worker.processes import wait_until
from worker.local.stack import HOST, LocalStack
from worker.queue.broker import QUEUES, unacked_key
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.queue.job_sources import job_from_fields
from worker.queue.reconcile import reconcile
from worker.queue.status import QueueMonitor
from worker.settings import BrokerSettings

TRACKS = 150
VISIBILITY_SECONDS = 5
FIRST_ADDRESS = IPv4Address("198.18.0.0")
"""In the range that is reserved for network benchmarks, so no real address is affected."""


def ip(*arguments: object) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, text=True)


@dataclass
class Link:
    """A link between the host and a namespace."""

    name: str
    host: IPv4Address
    peer: IPv4Address

    def cut(self) -> None:
        ip("link", "set", self.name, "down")

    def restore(self) -> None:
        ip("link", "set", self.name, "up")


@dataclass
class Machine:
    """A network namespace with its two links."""

    namespace: str
    broker: Link
    data: Link


@contextmanager
def machine(number: int) -> Iterator[Machine]:
    namespace = f"cogenre-{os.getpid()}-{number}"
    ip("netns", "add", namespace)
    try:
        links = []
        for at in range(2):
            first = FIRST_ADDRESS + 8 * (number - 1) + 4 * at
            link = Link(f"cg{os.getpid() % 100_000}-{number}{at}", first + 1, first + 2)
            ip("link", "add", link.name, "type", "veth", "peer", "name", "peer", "netns", namespace)
            ip("-n", namespace, "link", "set", "peer", "name", f"eth{at}")
            ip("addr", "add", f"{link.host}/30", "dev", link.name)
            ip("-n", namespace, "addr", "add", f"{link.peer}/30", "dev", f"eth{at}")
            ip("-n", namespace, "link", "set", f"eth{at}", "up")
            link.restore()
            links.append(link)
        ip("-n", namespace, "link", "set", "lo", "up")
        yield Machine(namespace, *links)
    finally:
        ip("netns", "delete", namespace)  # also deletes the links


class Forwarder:
    """Forwards connections from one address to a port of the local stack, which listens on loopback only."""

    def __init__(self, address: IPv4Address, port: int) -> None:
        self.peers: set[str] = set()
        self._port = port
        self._server = socket.create_server((str(address), 0))
        self.port: int = self._server.getsockname()[1]

    @contextmanager
    def serving(self) -> Iterator["Forwarder"]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, (peer, _) = self._server.accept()
            except OSError:  # the test has ended
                return
            self.peers.add(peer)
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection((HOST, self._port)) as server,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            try:
                while True:
                    for key, _ in ready.select():
                        if not (piece := key.fileobj.recv(65536)):  # type: ignore[union-attr]
                            return
                        key.data.sendall(piece)
            except OSError:  # one side closed the connection
                return


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    with ExitStack() as stack:
        try:
            both = (stack.enter_context(machine(1)), stack.enter_context(machine(2)))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"cannot create network namespaces: {getattr(error, 'stderr', error)}")
        yield both


@contextmanager
def worker_on(stack: LocalStack, where: Machine, catalog_url: str) -> Iterator[tuple[Forwarder, Any]]:
    """Run a worker in the namespace. Yield its forwarder to Redis, and its process."""
    with ExitStack() as context:
        broker = context.enter_context(Forwarder(where.broker.host, stack.redis.port).serving())
        catalog = context.enter_context(Forwarder(where.data.host, stack.postgres.port).serving())
        s3 = context.enter_context(Forwarder(where.data.host, stack.s3_port).serving())
        settings = {
            "COGENRE_BROKER_URL": f"redis://{where.broker.host}:{broker.port}/0",
            "COGENRE_CATALOG_URL": catalog_url.replace(
                f"{HOST}:{stack.postgres.port}", f"{where.data.host}:{catalog.port}"
            ),
            "COGENRE_S3_ENDPOINT_URL": f"http://{where.data.host}:{s3.port}",
            "COGENRE_VISIBILITY_TIMEOUT": str(VISIBILITY_SECONDS),
            "COGENRE_MAX_ATTEMPTS": "1000",
            "COGENRE_CONCURRENCY": "4",
        }
        process = subprocess.Popen(
            ["ip", "netns", "exec", where.namespace, sys.executable, "-m", "worker.cli", "worker"],
            env={**os.environ, **settings},
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            yield broker, process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def reconcile_all(catalog: Engine) -> None:
    """Run the reconciler, with all unfinished tracks made due."""
    with catalog.begin() as connection:
        connection.execute(
            text("update track set due_at = now() - interval '1 second' where due_at is not null")
        )
    reconcile(catalog, celery_app(BrokerSettings.load()), QueueMonitor(BrokerSettings.load()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_that_loses_redis_loses_nothing(
    machines: tuple[Machine, Machine],
    stack: LocalStack,
    environment: dict[str, str],
    catalog: Engine,
    s3: Any,
) -> None:
    tracks = [job(f"track-{at}", put_audio(s3, f"{at}.flac", hertz=100 + at)) for at in range(TRACKS)]
    one, other = machines
    url = environment["COGENRE_CATALOG_URL"]
    broker: Any = redis.Redis.from_url(environment["COGENRE_BROKER_URL"])
    in_flight = unacked_key(BrokerSettings.load().deployment)
    with (
        worker_on(stack, one, url) as (to_redis, process),
        worker_on(stack, other, url) as (also_to_redis, _),
    ):
        wait_until(lambda: bool(to_redis.peers) and bool(also_to_redis.peers))
        enqueue_all(catalog, *tracks)
        wait_until(lambda: count(catalog, "track_current") >= 10)
        one.broker.cut()
        assert count(catalog, "track_current") < TRACKS, "the link was cut too late: all tracks were finished"
        # The first worker cannot acknowledge its jobs: their leases expire and the second worker gets them.
        wait_until(lambda: not sum(map(broker.llen, QUEUES)) and not broker.hlen(in_flight), seconds=180)
        wait_until(lambda: _is_finished(catalog, TRACKS), seconds=180)
        assert process.poll() is None
        one.broker.restore()

        # The first worker is reconnected, and now the second one is cut off.
        other.broker.cut()
        enqueue_all(catalog, job("after", put_audio(s3, "after.flac", hertz=999)))
        wait_until(lambda: _is_finished(catalog, TRACKS + 1), seconds=180)
        other.broker.restore()
        wait_until(lambda: not sum(map(broker.llen, QUEUES)) and not broker.hlen(in_flight), seconds=180)
    assert to_redis.peers == {str(one.broker.peer)}
    assert also_to_redis.peers == {str(other.broker.peer)}
    assert count(catalog, "track_current") == TRACKS + 1
    assert count(catalog, "classification") == TRACKS + 1
    assert count(catalog, "ingest_failure") == 0


def enqueue_all(catalog: Engine, *jobs: dict[str, Any]) -> None:
    enqueue(
        catalog,
        celery_app(BrokerSettings.load()),
        [job_from_fields(fields) for fields in jobs],
    )


def _is_finished(catalog: Engine, tracks: int) -> bool:
    """Return whether all tracks are catalogued. If not, enqueue lost jobs again by the reconciler."""
    if count(catalog, "track_current") == tracks:
        return True
    time.sleep(VISIBILITY_SECONDS)
    reconcile_all(catalog)
    return False
