"""Fixtures of all tests: real servers, and an empty catalog for each test. The option --fast."""

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
from tests.distribution import GroupScheduling, rank
from tests.fast.heavy_imports import block_heavy_imports
from tests.fast.selection import HEAVY_FIXTURES, is_heavy
from worker.local.stack import BUCKET, LocalStack, local_stack

ROOT = Path(__file__).parents[1]
DEMO_BUNDLE = ROOT / "deploy" / "demo" / "bundle"
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="run only tests that need neither servers nor torch")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and child processes inherit that. Some tests
    # interrupt the commands that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("fast"):
        block_heavy_imports()
        os.environ["PYTHONPATH"] = str(ROOT / "tests" / "fast")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files that import torch before they are loaded."""
    is_test = collection_path.is_dir() or collection_path.name.startswith("test_")
    return True if config.getoption("fast") and is_test and is_heavy(collection_path) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    """Distribute tests in groups where `--dist loadfile` is given."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # keep the order of collection: the longest groups first
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort long groups to the front. With --fast, deselect tests that use servers or are marked."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: rank(item.nodeid))
    if not config.getoption("fast"):
        return
    heavy = [
        item
        for item in items
        if HEAVY_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        or item.get_closest_marker("slow")
        or item.get_closest_marker("heavy")
    ]
    config.hook.pytest_deselected(items=heavy)
    items[:] = [item for item in items if item not in heavy]


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Remove the log handlers that a test adds: they write to a stream that is closed after the test."""
    before = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = before


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL, Redis and S3 servers of the session. The template database `migrated` is migrated."""
    with local_stack() as running:
        engine = _engine(running.catalog_url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("create database migrated"))
        template = _engine(_with_database(running.catalog_url, "migrated"))
        migrate(template)
        template.dispose()
        engine.dispose()
        yield running


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Settings of an empty catalog and an empty broker, set in this process's environment."""
    name = f"test_{uuid.uuid4().hex}"
    admin = _engine(stack.catalog_url)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"create database {name} template migrated"))
    redis.Redis.from_url(stack.broker_url).flushall()
    settings = stack.environment() | {
        "COGENRE_CATALOG_URL": _with_database(stack.catalog_url, name),
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
    """Engine of the catalog of `environment`."""
    engine = _engine(environment["COGENRE_CATALOG_URL"])
    yield engine
    engine.dispose()


@pytest.fixture
def s3(environment: dict[str, str]) -> Any:
    """Client of the local S3 server, which has the bucket `BUCKET`."""
    return boto3.client("s3", endpoint_url=environment["COGENRE_S3_ENDPOINT_URL"])


@pytest.fixture
def bucket() -> str:
    return BUCKET


def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))


def _with_database(url: str, database: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{database}"
