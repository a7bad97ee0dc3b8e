import numpy as np
import pytest

from media.source import MAX_READ_BYTES, MAX_WHOLE_READ_BYTES, SEEK_READ_BYTES, BytesSource, SourceFile


class Watched(BytesSource):
    """Notes what is read of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.__dict__["reads"] = []

    @property
    def reads(self) -> list[tuple[int, int]]:
        reads: list[tuple[int, int]] = self.__dict__["reads"]
        return reads

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read_at(offset, length)


@pytest.fixture
def large() -> Watched:
    return Watched(np.random.default_rng(0).bytes(2 * MAX_WHOLE_READ_BYTES))


def test_reads_what_is_there_wherever_it_is_sought(large: Watched) -> None:
    file = SourceFile(large)
    random = np.random.default_rng(1)
    for _ in range(200):
        at, length = int(random.integers(large.size)), int(random.integers(100_000))
        assert file.seek(at) == at
        assert file.read(length) == large.content[at : at + length]
        assert file.tell() == min(at + length, large.size)


def test_seeks_from_the_start_from_here_and_from_the_end(large: Watched) -> None:
    file = SourceFile(large)
    file.set_start(100)
    assert file.read(10) == large.content[100:110]
    assert file.seek(5, 1) == 15
    assert file.seek(-1, 2) == large.size - 101
    assert file.read(10) == large.content[-1:]
    assert file.read(10) == b""
    assert file.seek(-10) == 0


def test_a_small_file_is_read_at_once() -> None:
    small = Watched(bytes(MAX_WHOLE_READ_BYTES))
    file = SourceFile(small)
    for at in (0, MAX_WHOLE_READ_BYTES - 1, MAX_WHOLE_READ_BYTES // 2):
        file.seek(at)
        file.read(1)
    assert small.reads == [(0, MAX_WHOLE_READ_BYTES)]


def test_each_block_read_on_is_twice_the_last_and_a_seek_starts_small_again(large: Watched) -> None:
    file = SourceFile(large)
    file.read(SEEK_READ_BYTES + 1)
    file.seek(6 * MAX_READ_BYTES)
    file.read(1)
    assert [length for _, length in large.reads] == [SEEK_READ_BYTES, 2 * SEEK_READ_BYTES, SEEK_READ_BYTES]


def test_a_source_shorter_than_it_says_just_ends() -> None:
    class Short(BytesSource):
        @property
        def size(self) -> int:
            return 1000

    assert SourceFile(Short(b"abc")).read(10) == b"abc"
