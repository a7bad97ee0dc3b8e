"""Encoded audio that is read piece by piece, wherever it lies."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

WHOLE_BYTES = 16 << 20
"""A file no larger is read at once: an object store sends all of it in the time that a dozen requests take,
which as many pieces would, and no decode process waits for them."""

SEEK_BYTES = 256 << 10
"""Read after a seek: enough for a header or a step of a binary search."""

MOST_BYTES = 1 << 20
"""Read at once, at most, from a larger file: what is read in vain at the end of a window stays small."""

KEPT_BLOCKS = 8
"""Latest blocks kept: demuxers go back to the header and to steps of a search that they took before."""


class Source(Protocol):
    """An encoded file."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on; fewer only where the file ends."""


@dataclass(frozen=True)
class BytesSource:
    """A file in memory."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]


def head_bytes(size: int) -> int:
    """How much of a file of `size` bytes is read first: all of a small one."""
    return size if size <= WHOLE_BYTES else SEEK_BYTES


class SourceFile:
    """A source as the binary file that PyAV reads and seeks.

    As long as it is read on without a seek, each request asks for twice as much as the last.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._start = 0
        self._at = 0
        self._blocks: deque[tuple[int, bytes]] = deque(maxlen=KEPT_BLOCKS)
        self._next = 0
        self._ahead = head_bytes(source.size)

    def begin_at(self, start: int) -> None:
        """Position 0 is byte `start` of the source from now on."""
        self._start = self._at = start

    def read(self, length: int) -> bytes:
        """`length` bytes; fewer only at the end."""
        content = b""
        while len(content) < length and self._at < self._source.size:
            offset, block = self._block()
            first = self._at - offset
            piece = block[first : first + length - len(content)]
            if not piece:
                break
            content += piece
            self._at += len(piece)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        origin = (self._start, self._at, self._source.size)[whence]
        self._at = max(self._start, origin + offset)
        return self.tell()

    def tell(self) -> int:
        return self._at - self._start

    def _block(self) -> tuple[int, bytes]:
        """A block that holds the current position, and where it begins."""
        for offset, block in self._blocks:
            if offset <= self._at < offset + len(block):
                return offset, block
        if self._at != self._next:
            self._ahead = SEEK_BYTES
        block = self._source.read_at(self._at, min(self._ahead, self._source.size - self._at))
        self._blocks.append((self._at, block))
        self._next = self._at + len(block)
        self._ahead = min(MOST_BYTES, 2 * self._ahead)
        return self._at, block
