"""An S3 server that can return errors or answer late: a proxy in front of the local one."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from worker.local.stack import HOST

KEPT = ("content-type", "content-range", "etag", "last-modified", "x-amz-version-id", "accept-ranges")


class FaultyS3:
    """While `down` is set, answers `status`, by default 503 SlowDown; else forwards after `delay` seconds.

    While `trickle` is set, sends bodies one byte at a time, so that no socket timeout is reached.
    """

    def __init__(self, upstream: int, delay: float = 0) -> None:
        self.down = threading.Event()
        self.trickle = threading.Event()
        self.status = 503
        self.refused = 0
        """Requests answered by `status`."""
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_read(self) -> None:
                if faulty.down.is_set():
                    faulty.refused += 1
                    self.send_response(faulty.status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                time.sleep(delay)
                connection = http.client.HTTPConnection(HOST, upstream, timeout=30)
                connection.request(self.command, self.path, headers=dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.send_response(answer.status)
                for name in KEPT:
                    if value := answer.headers.get(name):
                        self.send_header(name, value)
                length = answer.headers.get("content-length", str(len(content)))
                self.send_header("content-length", length if self.command == "HEAD" else str(len(content)))
                self.end_headers()
                if not faulty.trickle.is_set():
                    self.wfile.write(content)
                    return
                with suppress(OSError):  # the client closed the connection
                    for at in range(len(content)):
                        self.wfile.write(content[at : at + 1])
                        time.sleep(0.05)

            do_GET = do_HEAD = handle_read  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator["FaultyS3"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
