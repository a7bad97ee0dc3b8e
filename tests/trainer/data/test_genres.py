"""Reading `genres.json`, and slugs of genre names."""

import json
from pathlib import Path

import pytest

from schemas.bundle import Genre
from trainer.data.genres import genre_slug, genres_from_names, read_genres
from trainer.errors import ManifestError


@pytest.mark.parametrize(
    ("genres", "message"),
    [
        ([], "at least one genre"),
        ([{"slug": "Tone", "name": "Tone"}], "0.slug"),
        ([{"slug": "tone", "name": "Tone"}] * 2, "each genre only once"),
        ([{"slug": "tone", "name": "Tone", "parent": "sound"}], "sound, parent of tone, is not listed"),
        (
            [{"slug": "a", "name": "A", "parent": "b"}, {"slug": "b", "name": "B", "parent": "a"}],
            "a is its own ancestor",
        ),
    ],
)
def test_wrong_genres_raise_one_line(tmp_path: Path, genres: list[dict[str, str]], message: str) -> None:
    (tmp_path / "genres.json").write_text(json.dumps(genres))
    with pytest.raises(ManifestError, match=message) as raised:
        read_genres(tmp_path / "genres.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Hip Hop", "hip-hop"), ("R&B / Soul", "r-b-soul"), ("Música Popular", "musica-popular")],
)
def test_slugs_of_names(name: str, slug: str) -> None:
    assert genre_slug(name) == slug


def test_a_name_without_latin_letters_has_no_slug() -> None:
    with pytest.raises(ManifestError, match="no Latin letters"):
        genre_slug("演歌")


def test_genres_from_names_have_no_parents() -> None:
    assert genres_from_names({"rock": "Rock", "hip-hop": "Hip Hop"}) == (
        Genre(slug="hip-hop", name="Hip Hop"),
        Genre(slug="rock", name="Rock"),
    )
