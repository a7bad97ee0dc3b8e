"""A client of the S3 that the settings name."""

from typing import Any

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError

from schemas.errors import ConfigError
from storage.settings import S3Settings


def s3_client(settings: S3Settings | None = None, connections: int = 10) -> Any:
    """Safe to share between threads, of which `connections` can be served at once.

    Raises ConfigError where none can be made of the settings.
    """
    endpoint = (settings or S3Settings.load()).s3_endpoint_url
    try:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            config=botocore.config.Config(
                max_pool_connections=connections,
                connect_timeout=5,
                read_timeout=20,
                retries={"mode": "standard", "max_attempts": 2},
                # S3-compatible servers do not all know the newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except ValueError as error:
        raise ConfigError(f"COGENRE_S3_ENDPOINT_URL: {error} (write https://host:port)") from None
    except BotoCoreError as error:
        raise ConfigError(f"S3 cannot be used: {error} (check the AWS_… variables)") from None
