"""Waiting for a catalog that does not answer."""

from collections.abc import Callable
from typing import TypeVar

import tenacity
from sqlalchemy.exc import InterfaceError, OperationalError

from worker.errors import TryLater

Result = TypeVar("Result")


def patiently(call: Callable[[], Result], seconds: float) -> Result:
    """Do it again while the catalog does not answer. Raises TryLater after `seconds` of that."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((OperationalError, InterfaceError)),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    try:
        return retrying(call)
    except (OperationalError, InterfaceError) as error:
        raise TryLater(f"the catalog does not answer: {error}") from error
