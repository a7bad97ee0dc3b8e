"""The house's sandboxed decode processes, for labelled tracks."""

from collections.abc import Iterator
from contextlib import contextmanager

from media.cpus import available_cpus
from media.decoders import DecoderPool
from media.errors import DecoderUnavailable
from trainer.errors import DecodingError

SECONDS = 60.0
MEMORY_BYTES = 2 * 2**30
"""What a track may take: as much as a worker allows it."""


@contextmanager
def decoder_pool(processes: int | None = None) -> Iterator[DecoderPool]:
    """A process a CPU, unless told otherwise. Raises DecodingError where none can be had."""
    try:
        with DecoderPool(
            processes or available_cpus(),
            seconds=SECONDS,
            memory_bytes=MEMORY_BYTES,
        ) as pool:
            yield pool
    except DecoderUnavailable as error:
        raise DecodingError(f"cannot decode: {error}") from error
