"""Bundles in S3: `<prefix>/<name>/<version>/<file>`. Each version is written once.

The manifest is uploaded last: if it exists in S3, the bundle is complete. An object's metadata holds its
SHA-256, so that an interrupted push continues where it stopped. An interrupted pull continues with the files
that it has already downloaded. `client` is always a boto3 client from `storage.client`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from schemas.bundle import (
    MANIFEST_FILE,
    BundleManifest,
    artefact_sha256,
    read_bundle,
    read_manifest,
    sha256_of,
)
from schemas.errors import BundleError
from storage.atomic import LOCK_FILE, lock_folder
from storage.client import S3_ERRORS, S3ErrorKind, s3_error_kind
from storage.errors import OutputError

SCHEME = "s3://"
SHA256 = "sha256"
"""Metadata key of an object's SHA-256."""


def push(client: Any, folder: Path, url: str) -> str:
    """Upload a bundle below s3://bucket/prefix and return the URL to pull it from. Raises BundleError."""
    manifest = read_bundle(folder)
    bucket, prefix = split_url(url)
    key_prefix = "/".join(filter(None, (prefix, manifest.name, manifest.version)))
    target = f"{SCHEME}{bucket}/{key_prefix}"
    own_sha256 = artefact_sha256(folder)
    version_exists = BundleError(
        f"{target} holds another bundle, and a version is written once: export with a new version"
    )
    with _bundle_errors(target):
        stored_sha256 = _stored_sha256(client, bucket, f"{key_prefix}/{MANIFEST_FILE}")
        if stored_sha256 == own_sha256:
            return target
        if stored_sha256 is not None:
            raise version_exists
        for name, sha256 in manifest.files.items():
            key = f"{key_prefix}/{name}"
            if _stored_sha256(client, bucket, key) != sha256:
                client.upload_file(str(folder / name), bucket, key, ExtraArgs={"Metadata": {SHA256: sha256}})
        try:
            client.put_object(
                Bucket=bucket,
                Key=f"{key_prefix}/{MANIFEST_FILE}",
                Body=(folder / MANIFEST_FILE).read_bytes(),
                Metadata={SHA256: own_sha256},
                IfNoneMatch="*",
            )
        except ClientError as error:
            if s3_error_kind(error) is S3ErrorKind.PRECONDITION_FAILED:
                raise version_exists from error
            raise
    return target


def pull(client: Any, url: str, folder: Path) -> BundleManifest:
    """Download a bundle that `push` uploaded and check every file's SHA-256. Raises BundleError.

    The files are downloaded to `.<name>.partial` beside `folder`, which is renamed once they are complete and
    checked. If several processes pull to the same folder, one downloads. The others wait for it and then
    raise BundleError, because `folder` exists.
    """
    bucket, key_prefix = split_url(url)
    partial = folder.with_name(f".{folder.name}.partial")
    with _bundle_errors(url), _locked_partial(folder, partial):
        client.download_file(bucket, f"{key_prefix}/{MANIFEST_FILE}", str(partial / MANIFEST_FILE))
        files = read_manifest(partial).files
        for path in partial.iterdir():
            if path.name not in (MANIFEST_FILE, LOCK_FILE) and files.get(path.name) != sha256_of(path):
                path.unlink()
        for name in files:
            if not (partial / name).exists():
                client.download_file(bucket, f"{key_prefix}/{name}", str(partial / name))
        manifest = read_bundle(partial)
        partial.rename(folder)
        (folder / LOCK_FILE).unlink()
    return manifest


@contextmanager
def _locked_partial(folder: Path, partial: Path) -> Iterator[None]:
    """Create `partial` and hold its lock. Raises BundleError if `folder` exists, also after the wait."""
    folder_exists = BundleError(f"{folder} exists: choose another folder, or remove it first")
    if folder.exists():
        raise folder_exists
    partial.mkdir(parents=True, exist_ok=True)
    try:
        with lock_folder(partial):
            # The process that held the lock may have created `folder`, or may have failed.
            if folder.exists():
                shutil.rmtree(partial, ignore_errors=True)
                raise folder_exists
            yield
    except OutputError as error:
        # The process that held the lock has renamed `partial` to `folder`.
        raise (folder_exists if folder.exists() else BundleError(str(error))) from error


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and key prefix, without slashes around the prefix. Raises BundleError."""
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    prefix = prefix.strip("/")
    if not url.startswith(SCHEME) or not bucket or {"", "..", "."} & set(prefix.split("/")) - {prefix}:
        raise BundleError(f"{url} is not the URL of a bundle in S3: write s3://bucket/prefix")
    return bucket, prefix


def _stored_sha256(client: Any, bucket: str, key: str) -> str | None:
    """Return the SHA-256 in an object's metadata; "" if it has none, None if the object does not exist."""
    try:
        metadata: dict[str, str] = client.head_object(Bucket=bucket, Key=key)["Metadata"]
    except ClientError as error:
        if s3_error_kind(error) is S3ErrorKind.MISSING:
            return None
        raise
    return metadata.get(SHA256, "")


@contextmanager
def _bundle_errors(url: str) -> Iterator[None]:
    """Raise errors of S3 and of the disk as BundleError."""
    try:
        yield
    except (*S3_ERRORS, OSError) as error:
        raise BundleError(f"cannot copy the bundle {url}: {str(error).splitlines()[0]}") from error
