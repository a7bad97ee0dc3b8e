"""Frames between a worker and its decode processes, over a pair of sockets.

A frame is its length in four bytes and then so many bytes. Nothing that comes from a decode process, which a
hostile file may have taken over, is unpickled, and no length that it names is believed.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LENGTH = struct.Struct(">I")


class Channel:
    """One end. For one thread at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._left: float | None = None
        self._until: float | None = None

    def allow(self, seconds: float) -> None:
        """From now on all waiting for the other side together may last so long; without a call, for ever."""
        self._left = seconds

    def send(self, *frames: bytes | memoryview) -> None:
        """Raises TimeoutError; OSError where the other side is gone."""
        with self._clock():
            for frame in frames:
                for part in (_LENGTH.pack(len(frame)), frame):
                    self._arm()
                    self._end.sendall(part)

    def receive(self, most: int) -> bytearray:
        """The next frame. Raises TimeoutError; EOFError, OSError where the other side is gone; ValueError
        where the frame is longer than `most` bytes."""
        with self._clock():
            (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            if length > most:
                raise ValueError(f"a frame of {length} bytes; at most {most}")
            return self._exactly(length)

    def close(self) -> None:
        self._end.close()

    def _exactly(self, length: int) -> bytearray:
        content = bytearray(length)
        missing = memoryview(content)
        while missing:
            self._arm()
            received = self._end.recv_into(missing)
            if not received:
                raise EOFError
            missing = missing[received:]
        return content

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """What happens inside takes from the time that is left."""
        if self._left is None:
            yield
            return
        self._until = time.monotonic() + self._left
        try:
            yield
        finally:
            self._left = self._until - time.monotonic()

    def _arm(self) -> None:
        """Let the next call on the socket end in time: it may be one of many, a byte each."""
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._end.settimeout(left)
