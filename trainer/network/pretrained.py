"""Loading of pre-trained transformers models."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


@contextmanager
def explain_load_errors(model: str, advice: str, error_class: type[Exception]) -> Iterator[None]:
    """Turn the errors of `from_pretrained` into an `error_class` with the model, the reason and `advice`."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise error_class(f"{model} cannot be loaded ({reason}): {advice}") from error
