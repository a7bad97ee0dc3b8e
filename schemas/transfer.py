"""Bundles in S3: `<prefix>/<name>/<version>/<file>`, each version written once.

The manifest goes last: where it lies, the bundle is whole. An object's metadata holds its SHA-256, so that a
push that was interrupted goes on where it stopped. Clients are boto3's.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from schemas.bundle import MANIFEST_FILE, BundleManifest, artefact_sha256, read_bundle, read_manifest
from schemas.errors import BundleError

SCHEME = "s3://"
SHA256 = "sha256"
"""The key in an object's metadata."""

GONE = ("404", "NoSuchKey", "NotFound")
TAKEN = ("412", "PreconditionFailed", "ConditionalRequestConflict")


def push(client: Any, folder: Path, url: str) -> str:
    """Put a bundle under an s3://bucket/prefix, and return the URL to pull it from. Raises BundleError."""
    manifest = read_bundle(folder)
    bucket, prefix = split_url(url)
    place = "/".join(filter(None, (prefix, manifest.name, manifest.version)))
    target = f"{SCHEME}{bucket}/{place}"
    own = artefact_sha256(folder)
    taken = BundleError(f"{target} is another bundle: a version is written once, so export with a new one")
    with _explained(target):
        there = _sha256(client, bucket, f"{place}/{MANIFEST_FILE}")
        if there == own:
            return target
        if there is not None:
            raise taken
        for name, sha256 in manifest.files.items():
            key = f"{place}/{name}"
            if _sha256(client, bucket, key) != sha256:
                client.upload_file(str(folder / name), bucket, key, ExtraArgs={"Metadata": {SHA256: sha256}})
        try:
            client.put_object(
                Bucket=bucket,
                Key=f"{place}/{MANIFEST_FILE}",
                Body=(folder / MANIFEST_FILE).read_bytes(),
                Metadata={SHA256: own},
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in TAKEN:
                raise taken from error
            raise
    return target


def pull(client: Any, url: str, folder: Path) -> BundleManifest:
    """Get a bundle from where `push` put it, whole and checked or not at all. Raises BundleError."""
    bucket, place = split_url(url)
    if folder.exists():
        raise BundleError(f"{folder} exists: choose another folder, or remove it first")
    with _explained(url):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            client.download_file(bucket, f"{place}/{MANIFEST_FILE}", str(temporary / MANIFEST_FILE))
            for name in read_manifest(temporary).files:
                client.download_file(bucket, f"{place}/{name}", str(temporary / name))
            manifest = read_bundle(temporary)
            temporary.chmod(0o755)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key prefix, without slashes around it. Raises BundleError."""
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    prefix = prefix.strip("/")
    if not url.startswith(SCHEME) or not bucket or {"", "..", "."} & set(prefix.split("/")) - {prefix}:
        raise BundleError(f"{url} is no place for a bundle: write s3://bucket/prefix")
    return bucket, prefix


def _sha256(client: Any, bucket: str, key: str) -> str | None:
    """Of an object, by its metadata: empty where it has none, none where there is no object."""
    try:
        metadata: dict[str, str] = client.head_object(Bucket=bucket, Key=key)["Metadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise
    return metadata.get(SHA256, "")


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
        raise BundleError(f"cannot copy the bundle {url}: {str(error).splitlines()[0]}") from error
