"""Sends and receives frames between a worker and its decode processes, over a pair of sockets.

A frame is its length in four bytes, big-endian, followed by its content. A malicious file may control a
decode process, so nothing from it is unpickled, and the length of each frame is limited. The messages are
documented in media/decode_process.py.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LENGTH = struct.Struct(">I")


class Channel:
    """One end of the connection, used by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._seconds_left: float | None = None
        self._deadline: float | None = None

    def limit_waiting(self, seconds: float) -> None:
        """Limit the total time that later calls wait for the other side. By default there is no limit."""
        self._seconds_left = seconds

    def send(self, *frames: bytes | memoryview) -> None:
        """Send frames. Raises TimeoutError; OSError if the other side has closed the connection."""
        with self._count_time():
            for frame in frames:
                for part in (_LENGTH.pack(len(frame)), frame):
                    self._set_timeout()
                    self._socket.sendall(part)

    def receive(self, max_bytes: int) -> bytearray:
        """Return the next frame.

        Raises TimeoutError; EOFError or OSError if the other side has closed the connection; ValueError if
        the frame is longer than `max_bytes`.
        """
        with self._count_time():
            (length,) = _LENGTH.unpack(self._receive_exactly(_LENGTH.size))
            if length > max_bytes:
                raise ValueError(f"the other side announced a frame of {length} bytes; at most {max_bytes}")
            return self._receive_exactly(length)

    def close(self) -> None:
        self._socket.close()

    def _receive_exactly(self, length: int) -> bytearray:
        content = bytearray(length)
        missing = memoryview(content)
        while missing:
            self._set_timeout()
            received = self._socket.recv_into(missing)
            if not received:
                raise EOFError
            missing = missing[received:]
        return content

    @contextmanager
    def _count_time(self) -> Iterator[None]:
        """Subtract the time spent in the context from the time that is left."""
        if self._seconds_left is None:
            yield
            return
        self._deadline = time.monotonic() + self._seconds_left
        try:
            yield
        finally:
            self._seconds_left = self._deadline - time.monotonic()

    def _set_timeout(self) -> None:
        """Set the timeout of the next socket call to the time that is left.

        Set before every call, because each call may transfer only one byte.
        """
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
