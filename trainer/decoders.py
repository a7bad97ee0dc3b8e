"""Decoding in processes of their own: a file that crashes FFmpeg, or never ends, costs its track alone."""

import multiprocessing
import os
import resource

from pebble import ProcessExpired, ProcessPool

from media.decode import Waveform, decode_windows
from schemas.bundle import AudioInput
from trainer.errors import UnreadableFile

SECONDS = 120
"""How long a file may take: many times what the longest that is decoded does on a busy machine."""

MEMORY_BYTES = 4 * 2**30
"""Address space of a process."""


class Decoders:
    """A process a CPU, started with the first file and ended with the context. For any number of threads."""

    def __init__(self) -> None:
        # Spawned, not forked: the caller runs threads, and a fork would copy their locks as they are.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(os.cpu_count() or 1, initializer=_bound_memory, context=context)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.stop()
        self._pool.join()

    def windows(self, encoded: bytes, audio: AudioInput) -> Waveform:
        """(windows, samples) of an encoded file, as `media.decode` cuts them.

        Raises MediaError, UnreadableFile.
        """
        try:
            return self._pool.schedule(_decode, (encoded, audio), timeout=SECONDS).result()
        except ProcessExpired as error:
            raise UnreadableFile(f"decoding it ended the process ({error.exitcode})") from error
        except TimeoutError as error:
            raise UnreadableFile(f"decoding it takes longer than {SECONDS} s") from error
        except MemoryError as error:  # what FFmpeg says of a file that claims absurd sizes
            raise UnreadableFile("decoding it takes more memory than there is") from error


def _bound_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _decode(encoded: bytes, audio: AudioInput) -> Waveform:
    return decode_windows(encoded, audio).windows
