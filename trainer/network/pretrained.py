"""What transformers cannot load, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


@contextmanager
def loading(what: str, advice: str, refusal: type[Exception]) -> Iterator[None]:
    """Turns what `from_pretrained` raises into a `refusal` that says why, and what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise refusal(f"{what} cannot be loaded ({reason}): {advice}") from error
