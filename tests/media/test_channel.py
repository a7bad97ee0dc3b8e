import socket
import threading
import time
from collections.abc import Iterator

import pytest

from media.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_frames_arrive_as_they_were_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = map(Channel, ends)
    large = bytes(range(256)) * 40_000
    sender = threading.Thread(target=ours.send, args=(b"", b"one", memoryview(large)))
    sender.start()
    assert [theirs.receive(len(large)) for _ in range(3)] == [b"", b"one", large]
    sender.join()


def test_a_length_that_is_too_long_is_not_believed(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes; at most 10"):
        Channel(ends[1]).receive(10)


def test_a_side_that_is_gone_ends_the_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(b"\x00\x00\x00\x09half")
    ends[0].close()
    with pytest.raises(EOFError):
        Channel(ends[1]).receive(10)
    with pytest.raises(OSError, match="Broken pipe"):
        Channel(ends[1]).send(bytes(1_000_000))


def test_a_byte_now_and_then_does_not_buy_time(ends: tuple[socket.socket, socket.socket]) -> None:
    ours = Channel(ends[0])
    ours.limit_waiting(0.2)
    stop = threading.Event()

    def trickle() -> None:
        ends[1].sendall(b"\x00\x00\x10\x00")
        while not stop.wait(0.02):
            ends[1].sendall(b"x")

    trickling = threading.Thread(target=trickle)
    trickling.start()
    with pytest.raises(TimeoutError):
        ours.receive(10_000)
    stop.set()
    trickling.join()


def test_only_waiting_costs_time(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = map(Channel, ends)
    ours.limit_waiting(0.2)
    time.sleep(0.3)
    theirs.send(b"in time")
    assert ours.receive(10) == b"in time"
    with pytest.raises(TimeoutError):
        ours.receive(10)
    with pytest.raises(TimeoutError):  # nothing is left
        ours.send(b"late")
