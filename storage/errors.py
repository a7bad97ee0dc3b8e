"""Errors of reading objects from S3 and of writing files."""

from schemas.errors import CogenreError


class OutputError(CogenreError):
    """A file or folder to be written exists already, or cannot be written."""


class BucketNotAllowed(ValueError):
    """The job names a bucket that is not listed in COGENRE_BUCKETS."""


class ObjectMissing(ValueError):
    """The object, or the requested version of it, does not exist in S3."""


class ObjectTooLarge(ValueError):
    """The object has more bytes than its reader allows."""


class ObjectChanged(Exception):
    """The object was replaced while it was being read. The producer's next job refers to the new object."""


class StorageUnavailable(Exception):
    """S3 did not answer, or answered with 5xx or 429. A retry can succeed."""


class StorageRefused(StorageUnavailable):
    """S3 answered with a final 4xx error. An immediate retry fails too; an operator has to fix the cause."""


class ReadDeadlinePassed(Exception):
    """The object was not read completely before the reader's deadline. A later retry can succeed."""
