"""Connections to the catalog end what hangs."""

import os
import socket

from sqlalchemy import text

from worker.catalog.connect import connect
from worker.settings import CatalogSettings


def test_a_server_that_stops_responding_is_detected(environment: dict[str, str]) -> None:
    engine = connect(CatalogSettings.load())
    with engine.connect() as connection:
        descriptor = connection.connection.driver_connection.fileno()  # type: ignore[union-attr]
        with socket.socket(fileno=os.dup(descriptor)) as end:
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
    engine.dispose()


def test_a_workers_statements_and_locks_are_bounded(environment: dict[str, str]) -> None:
    for bounded, bounds in ((True, ("30s", "20s")), (False, ("0", "0"))):
        engine = connect(CatalogSettings.load(), bounded=bounded)
        with engine.connect() as connection:
            shown = connection.execute(
                text("select current_setting('statement_timeout'), current_setting('lock_timeout')")
            ).one()
        assert tuple(shown) == bounds
        engine.dispose()
