"""The pool with real processes. Faults are injected by signals, by limits and by the source."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.decode import decode_windows
from media.decoders import DecoderPool
from media.errors import (
    DecoderCrashed,
    DecoderOutOfMemory,
    DecoderReadsTooMuch,
    DecoderTimedOut,
    DecoderUnavailable,
    MediaError,
    ShortAudio,
    SilentAudio,
    UnsupportedAudio,
)
from media.source import MAX_WHOLE_READ_BYTES, SEEK_READ_BYTES, BytesSource
from schemas.bundle import AudioInput
from schemas.jobs import ObjectRef
from storage.errors import ObjectChanged, StorageUnavailable
from storage.objects import ObjectStore
from storage.settings import StorageSettings
from tests.audio import encode, tone

RATE = 22_050
AUDIO = AudioInput(sample_rate=RATE, window_seconds=2, windows=2, picking="spread")
TONE = BytesSource(encode(tone(20), RATE))
LARGE_SECONDS = 200
LARGE = encode(
    np.random.default_rng(0).uniform(-0.5, 0.5, (1, LARGE_SECONDS * 44_100)).astype(np.float32),
    44_100,
    "wav",
    "pcm_s16le",
)
"""Longer than what is read at once: reading it asks for more."""


def decoders_of(parent: int) -> set[int]:
    """The decode processes that a process has."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = status.read_text().rpartition(")")[2].split()[:2]
            command = status.with_name("cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if int(ppid) == parent and state != "Z" and b"media.decode_process" in command:
            found.add(int(status.parent.name))
    return found


@dataclass
class Disturbed:
    """LARGE, of which something happens when the process asks for more than the head."""

    disturb: Callable[[], None]
    size: int = len(LARGE)

    def read_at(self, offset: int, length: int) -> bytes:
        if offset >= SEEK_READ_BYTES:
            self.disturb()
        return LARGE[offset : offset + length]


Pools = Callable[..., DecoderPool]


@pytest.fixture
def pools() -> Iterator[Pools]:
    """Makes pools that are closed in the end."""
    made = []

    def make(
        processes: int = 1, *, seconds: float = 20, memory: int = 512 << 20, recycle: int = 99
    ) -> DecoderPool:
        made.append(DecoderPool(processes, seconds=seconds, memory_bytes=memory, recycle_after=recycle))
        return made[-1]

    yield make
    for pool in made:
        pool.close()
    assert not decoders_of(os.getpid())


@pytest.fixture
def pool(pools: Pools) -> DecoderPool:
    return pools()


def the_decoder() -> int:
    (pid,) = decoders_of(os.getpid())
    return pid


@pytest.mark.parametrize("source", [TONE, BytesSource(LARGE)], ids=["whole", "in parts"])
def test_decodes_what_is_decoded_without_a_pool(pool: DecoderPool, source: BytesSource) -> None:
    clip, expected = pool.decode(source, AUDIO), decode_windows(source, AUDIO)
    assert np.array_equal(clip.windows, expected.windows)
    assert clip.windows.dtype == np.float32
    assert clip.seconds == expected.seconds


def test_media_errors_are_passed_on_unchanged(pool: DecoderPool) -> None:
    pid = the_decoder()
    with pytest.raises(SilentAudio, match="is silent in every window"):
        pool.decode(BytesSource(encode(0 * tone(3), RATE)), AUDIO)
    with pytest.raises(ShortAudio, match=r"lasts 0\.50 s"):
        pool.decode(BytesSource(encode(tone(0.5), RATE)), AUDIO)
    with pytest.raises(UnsupportedAudio, match="the file begins with 23 45 58 54 4d 33 55"):
        pool.decode(BytesSource(b"#EXTM3U\nhttp://example.org"), AUDIO)
    pool.decode(TONE, AUDIO)
    assert the_decoder() == pid


@pytest.mark.parametrize("fault", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_affects_only_its_track(pools: Pools, fault: signal.Signals) -> None:
    pool = pools(2)
    bystander = the_decoder()
    waiting, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        waiting.set()
        assert go_on.wait(10)

    def crash() -> None:
        os.kill(min(decoders_of(os.getpid()) - {bystander}), fault)

    with ThreadPoolExecutor(1) as other:
        in_flight = other.submit(pool.decode, Disturbed(hold), AUDIO)
        assert waiting.wait(10)
        with pytest.raises(DecoderCrashed, match=f"its decode process was killed by {fault.name}"):
            pool.decode(Disturbed(crash), AUDIO)
        pool.decode(TONE, AUDIO)
        go_on.set()
        assert in_flight.result(10).windows.shape == (2, 2 * RATE)
    assert bystander in decoders_of(os.getpid())


def test_a_killed_process_is_not_an_error_of_the_track(pool: DecoderPool) -> None:
    with pytest.raises(DecoderUnavailable, match="was killed, probably for lack of memory: add memory"):
        pool.decode(Disturbed(lambda: os.kill(the_decoder(), signal.SIGKILL)), AUDIO)
    pool.decode(TONE, AUDIO)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_process_group_does_not_interrupt_a_track(
    pool: DecoderPool, end: signal.Signals
) -> None:
    assert pool.decode(Disturbed(lambda: os.kill(the_decoder(), end)), AUDIO).seconds == LARGE_SECONDS


def test_a_hang_ends_in_time(pools: Pools) -> None:
    pool = pools(seconds=0.5)
    started = time.monotonic()
    with pytest.raises(DecoderTimedOut, match=r"was not decoded within 0\.5 s"):
        pool.decode(Disturbed(lambda: os.kill(the_decoder(), signal.SIGSTOP)), AUDIO)
    assert time.monotonic() - started < 5
    pool.decode(TONE, AUDIO)


def test_waiting_for_a_process_ends_in_time(pool: DecoderPool) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        waiting.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor(1) as other:
        in_flight = other.submit(pool.decode, Disturbed(hold), AUDIO)
        assert waiting.wait(10)
        with pytest.raises(DecoderUnavailable, match="no decode process was free"):
            pool.decode(TONE, AUDIO, time.monotonic() + 0.1)
        go_on.set()
        in_flight.result(10)
    pool.decode(TONE, AUDIO, time.monotonic() + 20)


def test_what_a_process_reads_is_bounded(pool: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.decoders.MAX_READ_RATIO", 0)  # no known file makes FFmpeg read that much
    with pytest.raises(DecoderReadsTooMuch):
        pool.decode(BytesSource(LARGE), AUDIO)
    pool.decode(TONE, AUDIO)


def test_a_slow_source_is_not_a_hang(pools: Pools) -> None:
    assert pools(seconds=0.5).decode(Disturbed(lambda: time.sleep(0.6)), AUDIO).seconds == LARGE_SECONDS


def test_too_much_memory_affects_only_its_track(pools: Pools) -> None:
    pool = pools(memory=32 << 20)
    long = BytesSource(encode(tone(240, 48_000), 48_000))
    whole = AudioInput(sample_rate=48_000, window_seconds=240, windows=1, picking="spread")
    with pytest.raises(DecoderOutOfMemory):
        pool.decode(long, whole)
    pool.decode(TONE, AUDIO)


@pytest.mark.parametrize("error", [StorageUnavailable, ObjectChanged, TimeoutError, KeyboardInterrupt])
def test_errors_of_the_source_surface_as_themselves(pool: DecoderPool, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        pool.decode(Disturbed(fail), AUDIO)
    pool.decode(TONE, AUDIO)


def test_a_process_is_replaced_after_so_many_tracks(pools: Pools) -> None:
    pool = pools(recycle=2)
    seen: list[int] = []
    for _ in range(4):
        seen += decoders_of(os.getpid())
        pool.decode(TONE, AUDIO)
    assert len(set(seen)) == 2
    assert not decoders_of(os.getpid())


def test_a_process_that_dies_while_idle_is_replaced(pool: DecoderPool) -> None:
    pid = the_decoder()
    os.kill(pid, signal.SIGKILL)
    while decoders_of(os.getpid()):
        time.sleep(0.01)
    pool.decode(TONE, AUDIO)
    assert the_decoder() != pid


def test_many_threads_share_few_processes(pools: Pools) -> None:
    pool = pools(2)
    sources = [BytesSource(encode(tone(5, hertz=200 + 50 * place), RATE)) for place in range(8)]
    expected = [decode_windows(source, AUDIO).windows for source in sources]
    with ThreadPoolExecutor(16) as threads:
        clips = threads.map(lambda place: pool.decode(sources[place % 8], AUDIO), range(48))
        for place, clip in enumerate(clips):
            assert np.array_equal(clip.windows, expected[place % 8])
    assert len(decoders_of(os.getpid())) <= 2


def test_closing_waits_for_the_track_under_way_and_refuses_the_next(pools: Pools) -> None:
    pool = pools()
    waiting = threading.Event()

    def hold() -> None:
        if not waiting.is_set():
            waiting.set()
            time.sleep(0.3)

    with ThreadPoolExecutor(2) as threads:
        under_way = threads.submit(pool.decode, Disturbed(hold), AUDIO)
        assert waiting.wait(10)
        late = threads.submit(pool.decode, TONE, AUDIO)
        pool.close()
        assert under_way.done()
        assert under_way.result().seconds == LARGE_SECONDS
        if error := late.exception():
            assert isinstance(error, RuntimeError)
    with pytest.raises(RuntimeError, match="closed"):
        pool.decode(TONE, AUDIO)
    assert not decoders_of(os.getpid())


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("mp4", "aac"),
     ("adts", "aac")],
)  # fmt: skip
def test_damaged_files_do_not_take_a_process_down(pools: Pools, container: str, codec: str) -> None:
    pool = pools()
    pid = the_decoder()
    random = np.random.default_rng(2)
    whole = encode(tone(8, 48_000), 48_000, container, codec)
    for _ in range(8):
        damaged = bytearray(whole[: random.integers(len(whole) // 4, len(whole))])
        for at in random.integers(0, len(damaged), 60):
            damaged[at] = random.integers(256)
        with suppress(MediaError):  # only the log of the process matters
            assert np.isfinite(pool.decode(BytesSource(bytes(damaged)), AUDIO).windows).all()
    assert the_decoder() == pid


def test_a_process_knows_no_secrets_and_is_confined(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    pools()
    process = Path("/proc") / str(the_decoder())
    assert b"very-secret" not in (process / "environ").read_bytes()
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("/bin/false", "a decode process ended with exit code 1"),
        ("/nowhere", "can be started: .*No such file"),
    ],
)
def test_a_pool_that_cannot_work_says_so_at_once(
    program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(DecoderUnavailable, match=message):
        DecoderPool(1, seconds=1, memory_bytes=1 << 29, recycle_after=1)


def test_the_watch_does_not_hide_how_a_process_ended(pool: DecoderPool) -> None:
    """An order that makes no sense stands for a fault of our own."""
    with pytest.raises(DecoderCrashed, match="its decode process ended with exit code 1"):
        pool.decode(TONE, AUDIO.model_copy(update={"windows": -1}))


def test_no_process_outlives_the_worker() -> None:
    script = """
import sys, time
from tests.media.test_decoders import AUDIO, Disturbed
from media.decoders import DecoderPool
pool = DecoderPool(1, seconds=60, memory_bytes=1 << 29, recycle_after=9)
pool.decode(Disturbed(lambda: (print("busy", flush=True), time.sleep(60))), AUDIO)
"""
    root = Path(__file__).parents[2]
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root)
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"busy\n"
        (pid,) = decoders_of(worker.pid)
        os.kill(pid, signal.SIGSTOP)
        worker.kill()
    for _ in range(500):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
    pytest.fail("the decode process is still there")


def test_an_object_is_read_in_part(
    pools: Pools, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(StorageSettings.load(), connections=2, retry_seconds=0.1)
    asked: list[str] = []
    get = store._client.get_object
    monkeypatch.setattr(store._client, "get_object", lambda **of: asked.append(of["Range"]) or get(**of))  # type: ignore[func-returns-value]
    s3.put_object(Bucket=bucket, Key="large.wav", Body=LARGE)
    opened = store.open(ObjectRef(bucket=bucket, key="large.wav"), 1 << 30)
    clip = pools().decode(store.source(opened), AUDIO)
    assert np.array_equal(clip.windows, decode_windows(LARGE, AUDIO).windows)
    ranges = [tuple(map(int, of.removeprefix("bytes=").split("-"))) for of in asked]
    assert sum(last + 1 - first for first, last in ranges) < len(LARGE) // 3
    assert len(LARGE) > MAX_WHOLE_READ_BYTES
