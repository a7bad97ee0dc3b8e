"""The local stack runs real servers and leaves no process or file behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from tests.worker.processes import wait_until
from worker.local.stack import LocalStack, local_stack

pytestmark = pytest.mark.heavy

RUN_STACK = """
import time
from worker.local.stack import local_stack
with local_stack() as stack:
    print(stack.postgres.process.pid, stack.redis.process.pid, flush=True)
    time.sleep(600)
"""


def is_running(pid: int) -> bool:
    """Return whether the process runs. A zombie does not: its parent has not collected its exit code yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_servers_are_of_the_expected_version_and_configuration(stack: LocalStack) -> None:
    with psycopg.connect(stack.catalog_url) as connection:
        version = connection.execute("show server_version_num").fetchone()
    assert version is not None
    assert int(version[0]) >= 180_000
    server = redis.Redis.from_url(stack.broker_url)
    assert server.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert server.config_get("appendonly") == {"appendonly": "yes"}


def test_servers_come_back_with_their_data_after_a_crash() -> None:
    with local_stack() as stack:
        with psycopg.connect(stack.catalog_url) as connection:
            connection.execute("create table kept (n int)")
        redis.Redis.from_url(stack.broker_url).set("kept", 1)
        for server in (stack.postgres, stack.redis):
            server.kill()
            server.start()
        with psycopg.connect(stack.catalog_url) as connection:
            connection.execute("select * from kept")
        assert redis.Redis.from_url(stack.broker_url).get("kept") == b"1"


def test_no_process_or_file_is_left_after_a_normal_end() -> None:
    with local_stack() as stack:
        assert stack.postgres.process is not None
        assert stack.redis.process is not None
        pids = [stack.postgres.process.pid, stack.redis.process.pid]
        folder = stack.postgres.log.parent
    assert not any(is_running(pid) for pid in pids)
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_servers_end_when_the_process_that_started_them_is_killed(number: signal.Signals) -> None:
    holder = subprocess.Popen([sys.executable, "-c", RUN_STACK], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    pids = [int(pid) for pid in holder.stdout.readline().split()]
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    os.kill(holder.pid, number)
    holder.wait()
    holder.stdout.close()
    wait_until(lambda: not any(is_running(pid) for pid in pids), seconds=20)
