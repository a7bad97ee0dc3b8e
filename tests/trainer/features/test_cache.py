"""The cache returns what was stored, or nothing."""

from pathlib import Path

import numpy as np
import pytest

from trainer.data.digest import content_digest
from trainer.features.cache import Cache, user_cache

ARRAY = np.arange(6, dtype=np.float16).reshape(2, 3)


def test_a_stored_array_is_returned(tmp_path: Path) -> None:
    key = content_digest("one")
    assert Cache(tmp_path).get("mels", key) is None
    Cache(tmp_path).put("mels", key, ARRAY)
    found = Cache(tmp_path).get("mels", key)
    assert found is not None
    assert np.array_equal(found, ARRAY)
    assert Cache(tmp_path).get("hidden", key) is None
    assert Cache(tmp_path).get("mels", content_digest("two")) is None


def test_a_damaged_file_counts_as_missing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("mels", content_digest("one"), ARRAY)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    for content in (file.read_bytes()[:-1], b"nonsense", b""):
        file.write_bytes(content)
        assert cache.get("mels", content_digest("one")) is None


def test_an_interrupted_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).put("mels", content_digest("one"), ARRAY)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_default_folder_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert user_cache() == Path("/caches/cogenre")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == Path.home() / ".cache" / "cogenre"
