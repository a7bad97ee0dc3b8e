"""Retries of catalog calls while the catalog is unavailable."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from storage.retry import retrying
from worker.errors import TryLater

Result = TypeVar("Result")


def with_retries(call: Callable[[], Result], seconds: float) -> Result:
    """Call `call` until it succeeds, with backoff. Raises TryLater after `seconds` of failures.

    Rejected values (DataError, IntegrityError) are not retried: the driver's error is raised at once, because
    SQLAlchemy's text quotes the whole statement. Every other error is retried, because it is temporary, such
    as a read-only server after a failover, a revoked privilege or tables of another release: no track may
    fail because of it.
    """
    try:
        return retrying(_is_temporary, seconds)(call)
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        if not _is_temporary(error):
            raise cause from None
        raise TryLater(f"the catalog does not answer: {cause}") from cause


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, SQLAlchemyError) and not isinstance(error, DataError | IntegrityError)
