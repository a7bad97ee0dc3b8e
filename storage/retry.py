"""The policy for retrying calls of a service that is unavailable: S3, the catalog."""

from collections.abc import Callable

import tenacity


def retrying(is_temporary: Callable[[BaseException], bool], seconds: float) -> tenacity.Retrying:
    """Return a retrier: exponential backoff with jitter, at most 5 s between attempts.

    Errors that are not temporary, and the last error after `seconds`, are raised as they are.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_temporary),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
