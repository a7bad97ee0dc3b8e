"""A pool of sandboxed decode processes. A file that crashes its process affects no other track.

```
          start, on demand                assign
  none ────────────────────► idle ─────────────────────► busy ───┐ serves reads of the source
   ▲                          │ ▲                         │ ▲    │
   │◄── accepts no track ─────┘ └── clip or MediaError ───┤ └────┘
   │                                                      │
   │◄── after `recycle_after` tracks ─────────────────────┤
   └◄── killed: crash, out of time, out of memory, ───────┘
        or the source cannot be read
```

Each slot of the pool is in one of these states. Free slots are kept in a stack, so that a worker with little
load runs few processes. Processes are started by exec, because a fork would copy the state of ONNX Runtime's
and CUDA's threads. Their environment contains no secrets. The kernel kills them when the process that started
them ends. The messages are documented in media/decode_process.py.
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
from media.source import MAX_READ_BYTES, Source, head_bytes
from schemas.bundle import AudioInput

START_SECONDS = 60.0
"""Time limit for a process to start and load its code."""

RECYCLE_AFTER = 1000
"""Tracks after which a process is replaced, to limit the memory that codecs leak."""

MAX_READ_RATIO = 4
"""Maximum number of bytes read, as a multiple of the file's size. Indexes and seeks read parts repeatedly."""

INHERITED_VARIABLES = frozenset({"LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH"})
"""Variables passed to decode processes. The worker's environment also contains secrets."""

ENVIRONMENT = {
    # By default numpy starts a thread for each CPU.
    "OPENBLAS_NUM_THREADS": "1",
    # Keep the memory of a track for the next one: allocating it again takes a quarter of a track's CPU time.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}

MEDIA_ERRORS = {error.__name__: error for error in MediaError.__subclasses__()}


class DecoderPool:
    """Decodes up to `processes` tracks concurrently. Thread-safe. A context manager that closes the pool."""

    def __init__(
        self, processes: int, *, seconds: float, memory_bytes: int, recycle_after: int = RECYCLE_AFTER
    ) -> None:
        """Start one process, to check that it can be started. Raises DecoderUnavailable.

        `seconds` limits the decoding of a track, not counting reads of its source. `memory_bytes` limits the
        memory that a process uses in addition to its idle memory. A process is replaced after
        `recycle_after` tracks.
        """
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._recycle_after = recycle_after
        self._processes = processes
        self._closed = False
        # The kernel kills a process when the thread that started it ends, so this thread runs as long as the
        # pool.
        self._starter = ThreadPoolExecutor(1, "decoder-starter")
        self._free_slots: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(processes - 1):
            self._free_slots.put(None)
        self._free_slots.put(self._start())

    def decode(self, source: Source, audio: AudioInput, deadline: float = math.inf) -> Clip:
        """Return the windows that `audio` specifies. Waits until a process is free.

        Raises MediaError, also DecoderFault, for a problem of the track; DecoderUnavailable for any other
        problem, or if no process is free by `deadline` (of time.monotonic()); and the errors of reading the
        source.
        """
        # Read before a process is taken, so that no process waits for S3.
        head = source.read_at(0, head_bytes(source.size))
        decoder = self._take_slot(deadline)
        try:
            if decoder is None or not decoder.assign(source, head, audio):
                decoder = self._replace(decoder)
                if not decoder.assign(source, head, audio):
                    raise DecoderUnavailable(
                        f"a new decode process {decoder.describe_end()} when it was assigned a track: "
                        "its output on stderr has the reason"
                    )
            clip = decoder.decode(source, audio)
        except BaseException as error:
            process_is_idle = isinstance(error, MediaError) and not isinstance(error, DecoderFault)
            if decoder is not None and not process_is_idle:
                decoder.kill()
            raise
        finally:
            if decoder is not None and decoder.tracks >= self._recycle_after:
                decoder.kill()
            self._free_slots.put(decoder if decoder is not None and decoder.is_alive else None)
        return clip

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the tracks that are being decoded, then end all processes."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._processes):
            if decoder := self._free_slots.get():
                decoder.kill()
        self._free_slots.put(None)  # so that a waiting thread finds the pool closed
        self._starter.shutdown()

    def _take_slot(self, deadline: float) -> "_Decoder | None":
        """Take a free slot and return its process; None if it has none. Raises DecoderUnavailable."""
        try:
            decoder = self._free_slots.get(
                timeout=None if deadline == math.inf else max(0, deadline - time.monotonic())
            )
        except queue.Empty:
            raise DecoderUnavailable("no decode process was free before the deadline of the track") from None
        if self._closed:
            self._free_slots.put(decoder)
            raise RuntimeError("the pool of decode processes is closed")
        return decoder

    def _replace(self, dead: "_Decoder | None") -> "_Decoder":
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
    """The worker's side of one decode process, used by one thread at a time."""

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        self._seconds = seconds
        worker_end, process_end = socket.socketpair()
        with process_end:
            arguments = [str(os.getpid()), str(process_end.fileno()), str(memory_bytes)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command is fixed
                    [sys.executable, "-P", "-m", "media.decode_process", *arguments],
                    pass_fds=[process_end.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in INHERITED_VARIABLES & os.environ.keys()}
                    | ENVIRONMENT,
                    cwd="/",
                )
            except OSError as error:
                worker_end.close()
                raise DecoderUnavailable(f"no decode process can be started: {error}") from error
        self._channel = Channel(worker_end)
        self.tracks = 0
        """Number of tracks assigned so far."""

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until the process has loaded its code. Raises DecoderUnavailable."""
        self._channel.limit_waiting(START_SECONDS)
        try:
            self._channel.receive(len(READY))
        except (EOFError, OSError) as error:
            raise DecoderUnavailable(
                f"a decode process {self.describe_end()} at its start: its output on stderr has the reason"
            ) from error

    def assign(self, source: Source, head: bytes, audio: AudioInput) -> bool:
        """Send a track to the process. Return False if the process has ended or does not answer."""
        self.tracks += 1
        self._channel.limit_waiting(self._seconds)
        request = json.dumps({"audio": audio.model_dump(), "size": source.size}).encode()
        try:
            self._channel.send(request, head)
            return self._channel.receive(len(READY)) == READY
        except (EOFError, OSError, ValueError):
            return False

    def decode(self, source: Source, audio: AudioInput) -> Clip:
        """Serve the reads of the assigned track and return its windows.

        Raises MediaError, DecoderUnavailable, and the errors of reading the source.
        """
        bytes_left = MAX_READ_RATIO * source.size
        while True:
            with self._decoder_faults():
                answer = json.loads(self._channel.receive(MAX_CONTROL_BYTES))
            match answer:
                case ["read", int(offset), int(length)] if offset >= 0 and 0 <= length <= MAX_READ_BYTES:
                    bytes_left -= length
                    if bytes_left < 0:
                        raise DecoderReadsTooMuch(f"reads more than {MAX_READ_RATIO} times the file")
                    piece = source.read_at(offset, length)
                    with self._decoder_faults():
                        self._channel.send(piece)
                case ["clip", int(windows), float(length)] if 0 < windows <= audio.windows:
                    shape = (windows, audio.window_samples)
                    with self._decoder_faults():
                        samples = self._channel.receive(4 * windows * audio.window_samples)
                        return Clip(np.frombuffer(samples, np.float32).reshape(shape), length)
                case ["media error", str(name), str(message)] if name in MEDIA_ERRORS:
                    raise MEDIA_ERRORS[name](message)
                case ["out of memory"]:
                    raise DecoderOutOfMemory("takes more memory to decode than its limit")
                case _:
                    self._raise_crash()

    def kill(self) -> None:
        """Kill the process, if it is still running."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    @contextmanager
    def _decoder_faults(self) -> Iterator[None]:
        """Raise failures of the process in the context as DecoderFault or DecoderUnavailable."""
        try:
            yield
        except TimeoutError as error:
            raise DecoderTimedOut(f"was not decoded within {self._seconds:g} s") from error
        except (EOFError, OSError, ValueError) as error:
            self._raise_crash(error)

    def _raise_crash(self, cause: Exception | None = None) -> NoReturn:
        end = self.describe_end()
        if self._process.returncode == -signal.SIGKILL:
            # No file can cause SIGKILL. The kernel sends it when the machine or container is out of memory.
            raise DecoderUnavailable(
                "its decode process was killed, probably for lack of memory: add memory, or lower "
                "COGENRE_DECODERS or COGENRE_DECODE_MEMORY_BYTES"
            ) from cause
        raise DecoderCrashed(f"its decode process {end}") from cause

    def describe_end(self) -> str:
        """Return how the process ended, for a message."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)
            return (
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            )
        return "sent an invalid answer, or none"
