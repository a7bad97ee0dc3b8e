"""Errors of the service, and the stages of the pipeline in which they occur."""

from enum import StrEnum
from typing import TYPE_CHECKING, Self

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError


class Stage(StrEnum):
    """A stage of the pipeline, as in metrics, in `classification.timings` and in `ingest_failure.stage`."""

    VALIDATE = "validate"
    OPEN = "open"
    FETCH = "fetch"
    DECODE = "decode"
    TOKENISE = "tokenise"
    INFER = "infer"
    COMMIT = "commit"
    DELIVER = "deliver"
    """The job used up its attempts."""
    RECONCILE = "reconcile"
    """The job that the catalog stores for the track is not valid."""


class ProviderUnavailable(ConfigError):
    """The execution provider is not installed, finds no usable GPU, or cannot run the graph."""


class BucketUnlisted(ConfigError):
    """S3 refuses to list a bucket, or the bucket does not exist. Other buckets may still be listed."""


class TrackError(Exception):
    """The track cannot be labelled, and a further attempt would fail too. Recorded in `ingest_failure`."""

    def __init__(self, stage: Stage, cause: BaseException) -> None:
        super().__init__(f"{stage}: {cause}")
        self.stage = stage
        """The stage that failed."""
        self.error_class = type(cause).__name__
        self.reason = str(cause)


class JobInvalid(ValueError):
    """The message is not a valid `TrackJob`."""

    @classmethod
    def from_validation_error(cls, error: "ValidationError") -> Self:
        """Return an error that names each invalid field by its path, with the problem."""
        return cls("; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()))


class WorkerDied(Exception):
    """A worker received the job and did not finish it. The track may have crashed the worker."""


class InferenceFailed(Exception):
    """The graph failed to run, mostly because of the device or its memory. A later attempt may succeed."""


class DeadlinePassed(Exception):
    """The request waited too long in a batcher's queue. A later attempt may succeed."""


class TryLater(Exception):
    """A temporary failure that the track did not cause. The job is postponed or returned to the queue."""
