"""The S3 client of the worker, the trainer and the exporter, and the classification of boto3's errors."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import boto3
import urllib3.exceptions
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import S3TransferRetriesExceededError  # type: ignore[attr-defined]
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from schemas.errors import ConfigError
from storage.settings import S3Settings

S3_ERRORS = (
    ClientError,
    BotoCoreError,
    Boto3Error,
    S3TransferRetriesExceededError,
    urllib3.exceptions.HTTPError,
)
"""The exceptions that boto3 raises, and those of urllib3 that are raised while the body of a response is
read."""

Limits = Mapping[str, Any]
"""Timeouts in seconds and the retry policy of a client: arguments of `botocore.config.Config`."""

FAIL_FAST: Limits = MappingProxyType(
    {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "max_attempts": 2}}
)
"""For callers that retry on their own, such as `storage.objects`, and for interactive commands."""

BOTO3_DEFAULTS: Limits = MappingProxyType({})
"""For transfers in bulk: 60 s and five attempts, unless `AWS_MAX_ATTEMPTS` or the AWS profile differ."""


def s3_client(
    settings: S3Settings | None = None,
    connections: int = 10,
    limits: Limits = FAIL_FAST,
    validate_responses: bool = False,
) -> Any:
    """Return an S3 client that threads may share; `connections` requests can run at the same time.

    The endpoint is COGENRE_S3_ENDPOINT_URL; if that is unset, the one that boto3 finds
    (`AWS_ENDPOINT_URL_S3`, or AWS). `validate_responses` compares downloads with the checksums that S3 keeps;
    not all S3-compatible servers support them. Raises ConfigError for settings that boto3 does not accept.
    """
    endpoint = (settings or S3Settings.load()).s3_endpoint_url
    config = Config(
        max_pool_connections=connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported" if validate_responses else "when_required",
        **limits,
    )
    try:
        # Not boto3.client(): its shared session is not thread-safe while it creates a client.
        return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)
    except ValueError as error:
        raise ConfigError(f"COGENRE_S3_ENDPOINT_URL: {error} (write https://host:port)") from None
    except BotoCoreError as error:
        raise ConfigError(f"S3 cannot be used: {error} (check the AWS_… variables)") from None


class S3ErrorKind(Enum):
    """The kinds of errors of S3, by how the caller has to react."""

    MISSING = auto()
    """The object, its version or its bucket does not exist."""
    FORBIDDEN = auto()
    """Access denied. S3 also answers this for a missing key if the credentials lack s3:ListBucket."""
    PRECONDITION_FAILED = auto()
    """The condition IfMatch or IfNoneMatch was false: the object was replaced, or exists already."""
    INVALID_REQUEST = auto()
    """boto3 did not send the request, because an argument is invalid, such as the bucket's name."""
    REFUSED = auto()
    """Another 4xx answer: a retry gives the same."""
    UNAVAILABLE = auto()
    """No answer, 5xx, or 429: a retry can succeed."""

    @property
    def is_final(self) -> bool:
        """Whether the same request fails again."""
        return self is not S3ErrorKind.UNAVAILABLE


# 405: the version is a delete marker. Responses to HEAD have no body, so their error code is the status.
_KIND_OF_CODE = {
    **dict.fromkeys(
        ("404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "NotFound", "405", "MethodNotAllowed"),
        S3ErrorKind.MISSING,
    ),
    **dict.fromkeys(
        ("412", "PreconditionFailed", "ConditionalRequestConflict"), S3ErrorKind.PRECONDITION_FAILED
    ),
}
_KIND_OF_STATUS = {403: S3ErrorKind.FORBIDDEN, 404: S3ErrorKind.MISSING, 429: S3ErrorKind.UNAVAILABLE}
_SERVER_ERROR = 500


def s3_error_kind(error: BaseException) -> S3ErrorKind:
    """Return the kind of one of `S3_ERRORS`."""
    if isinstance(error, ParamValidationError):
        return S3ErrorKind.INVALID_REQUEST
    if not isinstance(error, ClientError):
        return S3ErrorKind.UNAVAILABLE
    if kind := _KIND_OF_CODE.get(error.response["Error"]["Code"]):
        return kind
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return _KIND_OF_STATUS.get(
        status, S3ErrorKind.REFUSED if status < _SERVER_ERROR else S3ErrorKind.UNAVAILABLE
    )
