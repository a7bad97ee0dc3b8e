"""The HTTP server of a worker: `/metrics`, `/livez` and `/readyz`."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from socket import AF_INET, AF_INET6, has_dualstack_ipv6

from prometheus_client import MetricsHandler

from schemas.errors import ConfigError
from worker.observe.health import Health


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = AF_INET6 if has_dualstack_ipv6() else AF_INET


@contextmanager
def serve_http(port: int | None, health: Health, before_scrape: Callable[[], None]) -> Iterator[int | None]:
    """Serve on all addresses while the context is open. Yield the port.

    `port`: None = no server, 0 = any free port. `before_scrape` is called before each answer to `/metrics`.
    Raises ConfigError if the port is in use.
    """
    if port is None:
        yield None
        return
    try:
        server = _Server(("", port), _handler(health, before_scrape))
    except OSError as error:
        raise ConfigError(
            f"cannot listen on port {port}: {error.strerror} (set COGENRE_HTTP_PORT to another port)"
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _handler(health: Health, before_scrape: Callable[[], None]) -> type[MetricsHandler]:
    class Handler(MetricsHandler):
        timeout = 10  # seconds, after which an idle client is disconnected

        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            match self.path.partition("?")[0]:
                case "/metrics":
                    before_scrape()
                    super().do_GET()
                case "/livez":
                    self._answer(*health.liveness())
                case "/readyz":
                    self._answer(*health.readiness())
                case _:
                    self.send_error(404)

        def _answer(self, ok: bool, line: str) -> None:
            body = f"{line}\n".encode()
            self.send_response(200 if ok else 503)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
