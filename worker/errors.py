"""What can go wrong in the service, by who has to act."""

from typing import TYPE_CHECKING, Self

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError


class ProviderUnavailable(ConfigError):
    """The provider is not installed, finds no GPU it can use, or cannot run the graph."""


class BucketUnlisted(ConfigError):
    """S3 refuses to list this bucket, or has none of the name; others may be listed."""


class TrackError(Exception):
    """This track cannot be labelled, however often it is tried: recorded in `ingest_failure`."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(f"{stage}: {cause}")
        self.stage = stage
        """Where on the track's way it ended."""
        self.error_class = type(cause).__name__
        self.reason = str(cause)


class JobInvalid(ValueError):
    """The message is not a TrackJob."""

    @classmethod
    def of(cls, error: "ValidationError") -> Self:
        """Names each part that is wrong."""
        return cls("; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()))


class WorkerDied(Exception):
    """A worker took the job and did not bring it to an end. Perhaps the track is to blame."""


class InferenceFailed(Exception):
    """The graph did not run: most often its device, or the device's memory. Elsewhere, or later, it may."""


class DeadlinePassed(Exception):
    """The request waited too long for its turn. Elsewhere, or later, there may be less to do."""


class TryLater(Exception):
    """Something that the track is not to blame for does not work now: the job goes back to the queue."""
