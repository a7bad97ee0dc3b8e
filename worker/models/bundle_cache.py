"""The bundles that the settings name, on disk: one in S3 is pulled once."""

from pathlib import Path

from schemas.errors import BundleError
from storage.bundles import pull, split_url
from storage.client import s3_client
from worker.settings import ModelSettings

DEFAULT_CACHE = Path("~/.cache/cogenre")


def local_bundles(settings: ModelSettings) -> list[Path]:
    """Raises BundleError where one cannot be pulled."""
    if isinstance(settings.bundle, Path):
        return [settings.bundle]
    return [_pulled(url.strip(), settings.bundle_cache) for url in settings.bundle.split(",")]


def local_bundle(settings: ModelSettings) -> Path:
    """Raises BundleError where it cannot be pulled, or where there are several."""
    folder, *others = local_bundles(settings)
    if others:
        raise BundleError(f"one bundle is wanted here, and there are several: name one of {settings.bundle}")
    return folder


def _pulled(url: str, cache: Path | None) -> Path:
    bucket, place = split_url(url)
    folder = (cache or DEFAULT_CACHE.expanduser()) / bucket / place
    if not folder.is_dir():
        try:
            pull(s3_client(), url, folder)
        except BundleError:
            # Another worker of this machine may have been faster.
            if not folder.is_dir():
                raise
    return folder
