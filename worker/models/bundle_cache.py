"""Finds the bundles that `COGENRE_BUNDLE` names. A bundle in S3 is downloaded to the cache once."""

from pathlib import Path

from schemas.errors import BundleError
from storage.bundles import pull, split_url
from storage.client import s3_client
from worker.settings import ModelSettings

DEFAULT_CACHE = Path("~/.cache/cogenre")


def fetch_bundles(settings: ModelSettings) -> list[Path]:
    """Return the folder of every configured bundle. Raises BundleError if a download fails."""
    if isinstance(settings.bundle, Path):
        return [settings.bundle]
    return [_download(url.strip(), settings.bundle_cache) for url in settings.bundle.split(",")]


def fetch_bundle(settings: ModelSettings) -> Path:
    """Return the folder of the configured bundle.

    Raises BundleError if the download fails, or if several bundles are configured.
    """
    folder, *others = fetch_bundles(settings)
    if others:
        raise BundleError(
            f"this command runs one bundle, and COGENRE_BUNDLE names several: set one of {settings.bundle}"
        )
    return folder


def _download(url: str, cache: Path | None) -> Path:
    """Return the folder of a bundle in the cache, downloading the bundle if it is not there."""
    bucket, prefix = split_url(url)
    folder = (cache or DEFAULT_CACHE.expanduser()) / bucket / prefix
    if not folder.is_dir():
        try:
            pull(s3_client(), url, folder)
        except BundleError:
            # Another worker on this machine may have downloaded it in the meantime.
            if not folder.is_dir():
                raise
    return folder
