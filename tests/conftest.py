"""What tests share: real servers, a catalog of their own, and the demo's bundle."""

import logging
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
from sqlalchemy import Engine, create_engine, text

from schemas.catalog.migrate import migrate
from worker.local.stack import BUCKET, LocalStack, local_stack

ROOT = Path(__file__).parents[1]
DEMO_BUNDLE = ROOT / "deploy" / "demo" / "bundle"
SHARED = ROOT.parent / "shared"


def pytest_configure() -> None:
    # Started in the background, tests ignore Ctrl-C, and the commands that they start would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """A command sets up logging to a stream that is gone with its test."""
    before = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = before


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL, Redis and S3, running for the whole session."""
    with local_stack() as running:
        engine = _engine(running.catalog_url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("create database migrated"))
        template = _engine(_named(running.catalog_url, "migrated"))
        migrate(template)
        template.dispose()
        engine.dispose()
        yield running


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Settings of an empty, migrated catalog and an empty broker, set for this process and its children."""
    name = f"test_{uuid.uuid4().hex}"
    admin = _engine(stack.catalog_url)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"create database {name} template migrated"))
    redis.Redis.from_url(stack.broker_url).flushall()
    settings = stack.environment() | {
        "COGENRE_CATALOG_URL": _named(stack.catalog_url, name),
        "COGENRE_BUNDLE": str(DEMO_BUNDLE),
    }
    for variable in [key for key in os.environ if key.startswith("COGENRE_")]:
        monkeypatch.delenv(variable)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    yield settings
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture
def catalog(environment: dict[str, str]) -> Iterator[Engine]:
    """The catalog of `environment`."""
    engine = _engine(environment["COGENRE_CATALOG_URL"])
    yield engine
    engine.dispose()


@pytest.fixture
def s3(environment: dict[str, str]) -> Any:
    """A client of the local S3 server; its bucket is `BUCKET`."""
    return boto3.client("s3", endpoint_url=environment["COGENRE_S3_ENDPOINT_URL"])


@pytest.fixture
def bucket() -> str:
    return BUCKET


def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))


def _named(url: str, database: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{database}"
