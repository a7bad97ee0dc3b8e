"""Retries of catalog calls while the catalog is unavailable."""

from collections.abc import Callable
from typing import TypeVar

import tenacity
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from worker.errors import TryLater

Result = TypeVar("Result")


def with_retries(call: Callable[[], Result], seconds: float) -> Result:
    """Call `call` until it succeeds, with backoff. Raises TryLater after `seconds` of failures.

    Rejected values (DataError, IntegrityError) are not retried: the driver's error is raised at once, because
    SQLAlchemy's text quotes the whole statement. Every other error is retried, because it is temporary, such
    as a read-only server after a failover, a revoked privilege or tables of another release: no track may
    fail because of it.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_temporary),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    try:
        return retrying(call)
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        if not _is_temporary(error):
            raise cause from None
        raise TryLater(f"the catalog does not answer: {cause}") from cause


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, SQLAlchemyError) and not isinstance(error, DataError | IntegrityError)
