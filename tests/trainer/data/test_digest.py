"""Digests of several parts."""

from trainer.data.digest import content_digest


def test_parts_are_kept_apart() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", "")]
    assert len({content_digest(*each) for each in parts}) == 4


def test_text_is_hashed_as_utf_8() -> None:
    assert content_digest("ab", b"c") == content_digest(b"ab", "c")
