"""genres.json, and names to slugs."""

import json
from pathlib import Path

import pytest

from schemas.bundle import Genre
from trainer.data.genres import named, read_genres, slug_of
from trainer.errors import ManifestError


@pytest.mark.parametrize(
    ("genres", "complaint"),
    [
        ([], "one genre"),
        ([{"slug": "Tone", "name": "Tone"}], "0.slug"),
        ([{"slug": "tone", "name": "Tone"}] * 2, "each only once"),
        ([{"slug": "tone", "name": "Tone", "parent": "sound"}], "sound, parent of tone, is not listed"),
        (
            [{"slug": "a", "name": "A", "parent": "b"}, {"slug": "b", "name": "B", "parent": "a"}],
            "a is its own ancestor",
        ),
    ],
)
def test_wrong_genres(tmp_path: Path, genres: list[dict[str, str]], complaint: str) -> None:
    (tmp_path / "genres.json").write_text(json.dumps(genres))
    with pytest.raises(ManifestError, match=complaint) as raised:
        read_genres(tmp_path / "genres.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Hip Hop", "hip-hop"), ("R&B / Soul", "r-b-soul"), ("Música Popular", "musica-popular")],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_a_name_without_latin_letters() -> None:
    with pytest.raises(ManifestError, match="no Latin letters"):
        slug_of("演歌")


def test_genres_that_are_not_listed_have_no_parents() -> None:
    assert named({"rock": "Rock", "hip-hop": "Hip Hop"}) == (
        Genre(slug="hip-hop", name="Hip Hop"),
        Genre(slug="rock", name="Rock"),
    )
