"""Waiting for a catalog that does not answer, or cannot do what it is asked."""

from collections.abc import Callable
from typing import TypeVar

import tenacity
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from worker.errors import TryLater

Result = TypeVar("Result")


def with_retries(call: Callable[[], Result], seconds: float) -> Result:
    """Do it again while the catalog fails. Raises TryLater after `seconds` of that.

    Only values that it refuses are the caller's own fault: read-only after a failover, a revoked grant or
    another release's tables pass, and no track may end for them. Those values' error is raised at once, as
    the driver's: SQLAlchemy's quotes the whole statement.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_catalogs_fault),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    try:
        return retrying(call)
    except SQLAlchemyError as error:
        said = getattr(error, "orig", None) or error
        if not _catalogs_fault(error):
            raise said from None
        raise TryLater(f"the catalog does not answer: {said}") from said


def _catalogs_fault(error: BaseException) -> bool:
    return isinstance(error, SQLAlchemyError) and not isinstance(error, DataError | IntegrityError)
