"""Reads encoded audio in parts, from memory or from S3."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

MAX_WHOLE_READ_BYTES = 16 << 20
"""Files up to this size are read in one request. An object store needs no more time for it than for a dozen
requests for parts, and no decode process waits for those."""

SEEK_READ_BYTES = 256 << 10
"""Size of the first read after a seek: enough for a header or a step of a binary search."""

MAX_READ_BYTES = 1 << 20
"""Maximum size of a read from a larger file. It limits the bytes that are read after the end of a window."""

CACHED_BLOCKS = 8
"""Number of recent blocks that are cached: demuxers return to the header and to earlier steps of a search."""


class Source(Protocol):
    """An encoded file."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; fewer only at the end of the file."""


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
    """Return how many bytes of a file of `size` bytes are read first: all bytes of a small file."""
    return size if size <= MAX_WHOLE_READ_BYTES else SEEK_READ_BYTES


class SourceFile:
    """A source as a binary file, which PyAV reads and seeks.

    During sequential reads, each request is twice as large as the previous one.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._start = 0
        self._at = 0
        self._blocks: deque[tuple[int, bytes]] = deque(maxlen=CACHED_BLOCKS)
        self._next = 0
        self._ahead = head_bytes(source.size)

    def set_start(self, start: int) -> None:
        """Make byte `start` of the source position 0 from now on."""
        self._start = self._at = start

    def read(self, length: int) -> bytes:
        """Return `length` bytes; fewer only at the end."""
        content = b""
        while len(content) < length and self._at < self._source.size:
            offset, block = self._read_block()
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

    def _read_block(self) -> tuple[int, bytes]:
        """Return the offset and the content of a block that contains the current position."""
        for offset, block in self._blocks:
            if offset <= self._at < offset + len(block):
                return offset, block
        if self._at != self._next:
            self._ahead = SEEK_READ_BYTES
        block = self._source.read_at(self._at, min(self._ahead, self._source.size - self._at))
        self._blocks.append((self._at, block))
        self._next = self._at + len(block)
        self._ahead = min(MAX_READ_BYTES, 2 * self._ahead)
        return self._at, block
