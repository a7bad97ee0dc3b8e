"""SHA-256 digests that name cached files, libraries and artists."""

import hashlib


def content_digest(*parts: bytes | str) -> str:
    """Return the SHA-256 of `parts`, in hexadecimal.

    Each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ. Text is hashed as UTF-8.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
