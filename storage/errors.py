"""Errors of reading objects and of writing files."""

from schemas.errors import CogenreError


class OutputError(CogenreError):
    """A file or folder to write exists already, or cannot be written."""


class BucketNotAllowed(ValueError):
    """The job names a bucket that this worker may not read."""


class ObjectMissing(ValueError):
    """S3 has no such object or version."""


class ObjectTooLarge(ValueError):
    """The object has more bytes than a track may have."""


class ObjectChanged(Exception):
    """The object was replaced while it was read. The producer's next job names the new one."""


class StorageUnavailable(Exception):
    """S3 does not answer, or answers that it cannot now. Trying later helps."""


class StorageRefuses(StorageUnavailable):
    """S3 answers no, as it will in a second too: an operator has to act. Trying much later helps."""


class ReadDeadlinePassed(Exception):
    """The object was not read in the time that its reader has. Trying later may help."""
