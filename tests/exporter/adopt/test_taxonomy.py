"""The mapping of raw labels to genres."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter.adopt.taxonomy import Mapping, Taxonomy, map_labels, read_taxonomy
from exporter.errors import TaxonomyError


def genres_by_slug(mapping: Mapping) -> dict[str, tuple[str, str | None, tuple[int, ...]]]:
    return {
        genre.slug: (genre.name, genre.parent, columns)
        for genre, columns in zip(mapping.genres, mapping.columns, strict=True)
    }


def test_labels_are_split_into_parent_and_child() -> None:
    found = genres_by_slug(map_labels(["Electronic---Deep Techno", "Electronic---House", "Jazz"], Taxonomy()))
    assert found == {
        "electronic": ("Electronic", None, (0, 1)),
        "deep-techno": ("Deep Techno", "electronic", (0,)),
        "house": ("House", "electronic", (1,)),
        "jazz": ("Jazz", None, (2,)),
    }


def test_parents_come_before_their_children() -> None:
    mapping = map_labels(["A---B---C", "A---D"], Taxonomy())
    seen: set[str | None] = {None}
    for genre in mapping.genres:
        assert genre.parent in seen
        seen.add(genre.slug)
    assert genres_by_slug(mapping)["a"] == ("A", None, (0, 1))


def test_labels_with_the_same_slug_become_one_genre() -> None:
    taxonomy = Taxonomy(rename={"Hip hop music": "Hip Hop", "Rap": "Hip-Hop"})
    assert genres_by_slug(map_labels(["Hip hop music", "Rap", "hip hop"], taxonomy)) == {
        "hip-hop": ("Hip Hop", None, (0, 1, 2))
    }


def test_a_name_below_two_parents_becomes_two_genres() -> None:
    found = genres_by_slug(map_labels(["Rock---Experimental", "Hip Hop---Experimental", "Pop"], Taxonomy()))
    assert found["rock-experimental"] == ("Experimental (Rock)", "rock", (0,))
    assert found["hip-hop-experimental"] == ("Experimental (Hip Hop)", "hip-hop", (1,))


def test_a_child_with_the_name_of_a_root_has_its_parent_in_its_slug() -> None:
    found = genres_by_slug(map_labels(["Folk", "Rock---Folk"], Taxonomy()))
    assert found["folk"] == ("Folk", None, (0,))
    assert found["rock-folk"] == ("Folk (Rock)", "rock", (1,))


def test_a_child_with_the_name_of_its_parent_is_the_parent() -> None:
    assert genres_by_slug(map_labels(["Reggae---Reggae", "Reggae---Dub"], Taxonomy())) == {
        "reggae": ("Reggae", None, (0, 1)),
        "dub": ("Dub", "reggae", (1,)),
    }


def test_labels_are_dropped_and_renamed_below_a_parent() -> None:
    taxonomy = Taxonomy(drop=("Speech",), rename={"Techno": "Electronic---Techno"})
    assert genres_by_slug(map_labels(["Speech", "Techno", "Jazz"], taxonomy)).keys() == {
        "electronic",
        "techno",
        "jazz",
    }


def test_labels_that_are_not_named_are_dropped() -> None:
    taxonomy = Taxonomy(others="drop", keep=("Jazz",), rename={"Dub music": "Dub"})
    found = genres_by_slug(map_labels(["Speech", "Jazz", "Dub music", "Dog"], taxonomy))
    assert found == {"jazz": ("Jazz", None, (1,)), "dub": ("Dub", None, (2,))}


def test_another_separator() -> None:
    assert genres_by_slug(map_labels(["Rock/Punk---x"], Taxonomy(separator="/"))).keys() == {"rock", "punk-x"}


@pytest.mark.parametrize(
    ("labels", "taxonomy", "message"),
    [
        (["Jazz"], Taxonomy(drop=("Dog",)), "names 'Dog', which is not a label"),
        (["Jazz"], Taxonomy(drop=("Jazz",)), "drops every label"),
        (["演歌"], Taxonomy(), "'演歌' has no Latin letters"),
        (["A---B", "C---B", "A-B"], Taxonomy(), "two genres would have the slug a-b"),
        (["x" * 70], Taxonomy(), "too long"),
    ],
)
def test_the_error_names_the_label_that_does_not_fit(
    labels: list[str], taxonomy: Taxonomy, message: str
) -> None:
    with pytest.raises(TaxonomyError, match=message):
        map_labels(labels, taxonomy)


def test_the_example_in_the_docstring_is_valid(tmp_path: Path) -> None:
    import exporter.adopt.taxonomy as module

    assert module.__doc__ is not None
    (tmp_path / "t.toml").write_text(module.__doc__.split("```toml")[1].split("```")[0])
    assert read_taxonomy(tmp_path / "t.toml").drop == ("Speech", "Silence")


@pytest.mark.parametrize(
    ("text", "message"),
    [("[", "is not TOML"), ("colour = 1", "colour"), ('keep = ["a"]\ndrop = ["a"]', "'a' is named twice")],
)
def test_the_error_names_what_is_wrong_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(tmp_path / "t.toml")
    with pytest.raises(TaxonomyError, match="cannot read"):
        read_taxonomy(tmp_path / "none.toml")


def test_a_label_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        Taxonomy(keep=("a",), rename={"a": "b"})
