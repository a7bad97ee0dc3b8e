"""Bundles in S3: `<prefix>/<name>/<version>/<file>`, each version written once.

The manifest goes last: where it lies, the bundle is whole. An object's metadata holds its SHA-256, so that a
push that was interrupted goes on where it stopped; so does a pull, by the files that it has. Clients are
boto3's.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from schemas.bundle import (
    MANIFEST_FILE,
    BundleManifest,
    artefact_sha256,
    read_bundle,
    read_manifest,
    sha256_of,
)
from schemas.errors import BundleError

SCHEME = "s3://"
LOCK_FILE = ".lock"
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
    """Get a bundle from where `push` put it, whole and checked or not at all. Raises BundleError.

    Until it is whole it lies beside `folder`, in `.<name>.partial`. Of several at once, one pulls.
    """
    bucket, place = split_url(url)
    partial = folder.with_name(f".{folder.name}.partial")
    with _explained(url), _alone(folder, partial):
        client.download_file(bucket, f"{place}/{MANIFEST_FILE}", str(partial / MANIFEST_FILE))
        files = read_manifest(partial).files
        for path in partial.iterdir():
            if path.name not in (MANIFEST_FILE, LOCK_FILE) and files.get(path.name) != sha256_of(path):
                path.unlink()
        for name in files:
            if not (partial / name).exists():
                client.download_file(bucket, f"{place}/{name}", str(partial / name))
        manifest = read_bundle(partial)
        partial.rename(folder)
        (folder / LOCK_FILE).unlink()
    return manifest


@contextmanager
def _alone(folder: Path, partial: Path) -> Iterator[None]:
    """The only one to fill `partial`, if need be after a wait. Raises BundleError where `folder` exists."""
    taken = BundleError(f"{folder} exists: choose another folder, or remove it first")
    if folder.exists():
        raise taken
    partial.mkdir(parents=True, exist_ok=True)
    # A file: NFS tells no other machine of a folder's lock.
    with (partial / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The one before may have given it its name, or failed and left it.
        if folder.exists():
            shutil.rmtree(partial, ignore_errors=True)
            raise taken
        yield


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
