"""The bundle that the settings name, on disk: one in S3 is pulled once."""

from pathlib import Path

from schemas.errors import BundleError
from schemas.transfer import pull, split_url
from worker.s3 import s3_client
from worker.settings import ModelSettings

DEFAULT_CACHE = Path("~/.cache/cogenre")


def local_bundle(settings: ModelSettings) -> Path:
    """Raises BundleError where it cannot be pulled."""
    if isinstance(settings.bundle, Path):
        return settings.bundle
    bucket, place = split_url(settings.bundle)
    folder = (settings.bundle_cache or DEFAULT_CACHE.expanduser()) / bucket / place
    if not folder.is_dir():
        try:
            pull(s3_client(), settings.bundle, folder)
        except BundleError:
            # Another worker of this machine may have been faster.
            if not folder.is_dir():
                raise
    return folder
