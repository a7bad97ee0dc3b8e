"""A pool of sandboxed processes that decode: whatever a file does to its process costs that track alone.

```
          start, on demand                order
  none ────────────────────► idle ─────────────────────► busy ───┐ serves reads of the source
   ▲                          │ ▲                         │ ▲    │
   │◄── takes no order: dead ─┘ └── clip or MediaError ───┤ └────┘
   │                                                      │
   │◄── after `recycle_after` tracks ─────────────────────┤
   └◄── killed: crash, out of time, out of memory, ───────┘
        or the source cannot be read
```

Each slot of the pool is in one of these states; those not busy lie in a stack, so that a worker with little
to do keeps few processes. They are started by exec, never forked from a process that holds ONNX Runtime's or
CUDA's threads; with an environment without secrets; and they die with the process that started them, however
it ends.
"""

import json
import math
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NoReturn

import numpy as np

from media.channel import Channel
from media.decode import Clip
from media.decode_process import MAX_CONTROL_BYTES, READY
from media.errors import (
    DecoderCrashed,
    DecoderFault,
    DecoderOutOfMemory,
    DecoderReadsTooMuch,
    DecoderTimedOut,
    DecoderUnavailable,
    MediaError,
)
from media.source import MOST_BYTES, Source, head_bytes
from schemas.bundle import AudioInput

START_SECONDS = 60.0
"""A process that has not loaded its code by then never will."""

RECYCLE_AFTER = 1000
"""Tracks, then a process has its successor: what a codec leaks stays small."""

READ_TIMES = 4
"""How often, all in all, a file may be read: indexes and seeks read parts of it again."""

INHERITED = frozenset({"LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH"})
"""What the processes may know of the worker's environment, which holds passwords and keys."""

ENVIRONMENT = {
    # numpy's linear algebra would start a thread a CPU.
    "OPENBLAS_NUM_THREADS": "1",
    # Keep the memory of a track for the next: taking it anew from Linux is a quarter of a track's CPU time.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}

MEDIA_ERRORS = {error.__name__: error for error in MediaError.__subclasses__()}


class DecoderPool:
    """Up to `processes` tracks are decoded at once. Safe to share between threads; a context closes it."""

    def __init__(
        self, processes: int, *, seconds: float, memory_bytes: int, recycle_after: int = RECYCLE_AFTER
    ) -> None:
        """A track may take `seconds`, not counting what reading its source takes, and `memory_bytes`; a
        process ends after `recycle_after` tracks. One is started now, to see that it can be.

        Raises DecoderUnavailable.
        """
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._recycle_after = recycle_after
        self._processes = processes
        self._closed = False
        # A process dies with the thread that started it: this one lasts as long as the pool.
        self._starter = ThreadPoolExecutor(1, "decoder-starter")
        self._free: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(processes - 1):
            self._free.put(None)
        self._free.put(self._start())

    def decode(self, source: Source, audio: AudioInput, deadline: float = math.inf) -> Clip:
        """The windows that `audio` asks for. Waits until a process is free.

        Raises MediaError, a DecoderFault among them, where the track is to blame; DecoderUnavailable where it
        is not, or where no process is free by `deadline`, of time.monotonic(); and whatever reading the
        source raises.
        """
        head = source.read_at(0, head_bytes(source.size))  # before a process has to wait for it
        decoder = self._take(deadline)
        try:
            if decoder is None or not decoder.order(source, head, audio):
                decoder = self._replaced(decoder)
                if not decoder.order(source, head, audio):
                    raise DecoderUnavailable(
                        f"a decode process that was just started {decoder.end()} when it was given a track"
                    )
            clip = decoder.decode(source, audio)
        except BaseException as error:
            said = isinstance(error, MediaError) and not isinstance(error, DecoderFault)
            if decoder is not None and not said:
                decoder.kill()
            raise
        finally:
            if decoder is not None and decoder.tracks >= self._recycle_after:
                decoder.kill()
            self._free.put(decoder if decoder is not None and decoder.alive else None)
        return clip

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the tracks under way, then end all processes."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._processes):
            if decoder := self._free.get():
                decoder.kill()
        self._free.put(None)  # wakes those who wait for a process
        self._starter.shutdown()

    def _take(self, deadline: float) -> "_Decoder | None":
        """A free slot's process, or None where it has none."""
        try:
            decoder = self._free.get(
                timeout=None if deadline == math.inf else max(0, deadline - time.monotonic())
            )
        except queue.Empty:
            raise DecoderUnavailable("no decode process was free in the time that a track has") from None
        if self._closed:
            self._free.put(decoder)
            raise RuntimeError("the pool of decode processes is closed")
        return decoder

    def _replaced(self, dead: "_Decoder | None") -> "_Decoder":
        if dead is not None:
            dead.kill()
        return self._start()

    def _start(self) -> "_Decoder":
        decoder = self._starter.submit(_Decoder, self._seconds, self._memory_bytes).result()
        try:
            decoder.wait_until_ready()
        except BaseException:
            decoder.kill()
            raise
        return decoder


class _Decoder:
    """The worker's side of one decode process. For one thread at a time."""

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        self._seconds = seconds
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(os.getpid()), str(theirs.fileno()), str(memory_bytes)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                    [sys.executable, "-P", "-m", "media.decode_process", *arguments],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in INHERITED & os.environ.keys()} | ENVIRONMENT,
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                raise DecoderUnavailable(f"no decode process can be started: {error}") from error
        self._channel = Channel(ours)
        self.tracks = 0
        """Decoded so far."""

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Raises DecoderUnavailable."""
        self._channel.allow(START_SECONDS)
        try:
            self._channel.receive(len(READY))
        except (EOFError, OSError) as error:
            raise DecoderUnavailable(
                f"a decode process {self.end()} when it was started: what it printed says why"
            ) from error

    def order(self, source: Source, head: bytes, audio: AudioInput) -> bool:
        """Hand over a track; False where the process has died, or hangs, since the last."""
        self.tracks += 1
        self._channel.allow(self._seconds)
        order = json.dumps({"audio": audio.model_dump(), "size": source.size}).encode()
        try:
            self._channel.send(order, head)
            return self._channel.receive(len(READY)) == READY
        except (EOFError, OSError, ValueError):
            return False

    def decode(self, source: Source, audio: AudioInput) -> Clip:
        """The track that was handed over."""
        may_read = READ_TIMES * source.size
        while True:
            with self._blamed():
                answer = json.loads(self._channel.receive(MAX_CONTROL_BYTES))
            match answer:
                case ["read", int(offset), int(length)] if offset >= 0 and 0 <= length <= MOST_BYTES:
                    may_read -= length
                    if may_read < 0:
                        raise DecoderReadsTooMuch(f"reads more than {READ_TIMES} times the file")
                    piece = source.read_at(offset, length)
                    with self._blamed():
                        self._channel.send(piece)
                case ["clip", int(windows), float(length)] if 0 < windows <= audio.windows:
                    shape = (windows, audio.window_samples)
                    with self._blamed():
                        samples = self._channel.receive(4 * windows * audio.window_samples)
                        return Clip(np.frombuffer(samples, np.float32).reshape(shape), length)
                case ["media error", str(name), str(message)] if name in MEDIA_ERRORS:
                    raise MEDIA_ERRORS[name](message)
                case ["out of memory"]:
                    raise DecoderOutOfMemory("takes more memory to decode than a track may have")
                case _:
                    self._crashed()

    def kill(self) -> None:
        """End the process at once; it may be dead already."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """The process's faults by name."""
        try:
            yield
        except TimeoutError as error:
            raise DecoderTimedOut(f"was not decoded within {self._seconds:g} s") from error
        except (EOFError, OSError, ValueError) as error:
            self._crashed(error)

    def _crashed(self, cause: Exception | None = None) -> NoReturn:
        end = self.end()
        if self._process.returncode == -signal.SIGKILL:
            # Nothing that a file does sends it: the kernel does, where the whole worker has no memory left.
            raise DecoderUnavailable(
                "its decode process was killed from outside: give it more memory, or start fewer (a worker "
                "by COGENRE_DECODERS and COGENRE_DECODE_MEMORY_BYTES)"
            ) from cause
        raise DecoderCrashed(f"its decode process {end}") from cause

    def end(self) -> str:
        """How it ended, for a message."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)
            return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return "did not answer as it should"
