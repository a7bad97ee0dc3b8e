"""The S3 client's configuration, and the kinds of S3's errors."""

import pytest
import urllib3.exceptions
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ParamValidationError

from schemas.errors import ConfigError
from storage.client import BOTO3_DEFAULTS, S3_ERRORS, S3ErrorKind, s3_client, s3_error_kind
from storage.settings import S3Settings


def test_the_worker_fails_fast_and_requires_no_newer_checksums(environment: dict[str, str]) -> None:
    config = s3_client(connections=7).meta.config
    assert config.max_pool_connections == 7
    assert (config.connect_timeout, config.read_timeout) == (5, 20)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"


def test_bulk_transfers_follow_the_aws_variables(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    config = s3_client(limits=BOTO3_DEFAULTS, validate_responses=True).meta.config
    assert (config.connect_timeout, config.read_timeout) == (60, 60)
    assert config.retries["total_max_attempts"] == 3
    assert config.response_checksum_validation == "when_supported"


def test_the_setting_comes_before_the_endpoint_of_boto3(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert s3_client().meta.endpoint_url == environment["COGENRE_S3_ENDPOINT_URL"]
    assert s3_client(S3Settings(s3_endpoint_url=None)).meta.endpoint_url == "http://127.0.0.1:9"


def test_an_endpoint_that_is_not_a_url_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"COGENRE_S3_ENDPOINT_URL: .*write https://host:port"):
        s3_client(S3Settings(s3_endpoint_url="127.0.0.1"))


def answer(status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "GetObject",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(404, "404"), S3ErrorKind.MISSING),
        (answer(404, "NoSuchKey"), S3ErrorKind.MISSING),
        (answer(404, "NoSuchBucket"), S3ErrorKind.MISSING),
        (answer(405, "MethodNotAllowed"), S3ErrorKind.MISSING),
        (answer(403, "403"), S3ErrorKind.FORBIDDEN),
        (answer(403, "InvalidAccessKeyId"), S3ErrorKind.FORBIDDEN),
        (answer(412, "PreconditionFailed"), S3ErrorKind.PRECONDITION_FAILED),
        (answer(409, "ConditionalRequestConflict"), S3ErrorKind.PRECONDITION_FAILED),
        (ParamValidationError(report="no bucket"), S3ErrorKind.INVALID_REQUEST),
        (answer(400, "ExpiredToken"), S3ErrorKind.REFUSED),
        (answer(429, "TooManyRequests"), S3ErrorKind.UNAVAILABLE),
        (answer(503, "SlowDown"), S3ErrorKind.UNAVAILABLE),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), S3ErrorKind.UNAVAILABLE),
        (NoCredentialsError(), S3ErrorKind.UNAVAILABLE),
        (S3UploadFailedError("interrupted"), S3ErrorKind.UNAVAILABLE),
        (urllib3.exceptions.ProtocolError("interrupted"), S3ErrorKind.UNAVAILABLE),
    ],
)
def test_error_kinds(error: Exception, kind: S3ErrorKind) -> None:
    assert isinstance(error, S3_ERRORS)
    assert s3_error_kind(error) is kind
    assert kind.is_final is (kind is not S3ErrorKind.UNAVAILABLE)
