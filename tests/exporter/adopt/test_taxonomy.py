"""Raw labels to genres."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter.adopt.taxonomy import Mapping, Taxonomy, map_labels, read_taxonomy
from exporter.errors import TaxonomyError


def genres(mapping: Mapping) -> dict[str, tuple[str, str | None, tuple[int, ...]]]:
    return {
        genre.slug: (genre.name, genre.parent, columns)
        for genre, columns in zip(mapping.genres, mapping.columns, strict=True)
    }


def test_labels_are_split_into_parent_and_child() -> None:
    found = genres(map_labels(["Electronic---Deep Techno", "Electronic---House", "Jazz"], Taxonomy()))
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
    assert genres(mapping)["a"] == ("A", None, (0, 1))


def test_labels_that_mean_the_same_become_one() -> None:
    taxonomy = Taxonomy(rename={"Hip hop music": "Hip Hop", "Rap": "Hip-Hop"})
    assert genres(map_labels(["Hip hop music", "Rap", "hip hop"], taxonomy)) == {
        "hip-hop": ("Hip Hop", None, (0, 1, 2))
    }


def test_a_genre_of_two_parents_is_two_genres() -> None:
    found = genres(map_labels(["Rock---Experimental", "Hip Hop---Experimental", "Pop"], Taxonomy()))
    assert found["rock-experimental"] == ("Experimental (Rock)", "rock", (0,))
    assert found["hip-hop-experimental"] == ("Experimental (Hip Hop)", "hip-hop", (1,))


def test_a_child_called_like_another_root_keeps_its_parent_in_its_slug() -> None:
    found = genres(map_labels(["Folk", "Rock---Folk"], Taxonomy()))
    assert found["folk"] == ("Folk", None, (0,))
    assert found["rock-folk"] == ("Folk (Rock)", "rock", (1,))


def test_a_child_called_like_its_parent_is_the_parent() -> None:
    assert genres(map_labels(["Reggae---Reggae", "Reggae---Dub"], Taxonomy())) == {
        "reggae": ("Reggae", None, (0, 1)),
        "dub": ("Dub", "reggae", (1,)),
    }


def test_labels_are_dropped_and_renamed_into_a_place() -> None:
    taxonomy = Taxonomy(drop=("Speech",), rename={"Techno": "Electronic---Techno"})
    assert genres(map_labels(["Speech", "Techno", "Jazz"], taxonomy)).keys() == {
        "electronic",
        "techno",
        "jazz",
    }


def test_others_are_dropped_where_only_some_are_kept() -> None:
    taxonomy = Taxonomy(others="drop", keep=("Jazz",), rename={"Dub music": "Dub"})
    found = genres(map_labels(["Speech", "Jazz", "Dub music", "Dog"], taxonomy))
    assert found == {"jazz": ("Jazz", None, (1,)), "dub": ("Dub", None, (2,))}


def test_a_separator_of_ones_own() -> None:
    assert genres(map_labels(["Rock/Punk---x"], Taxonomy(separator="/"))).keys() == {"rock", "punk-x"}


@pytest.mark.parametrize(
    ("labels", "taxonomy", "said"),
    [
        (["Jazz"], Taxonomy(drop=("Dog",)), "names 'Dog', which is no label"),
        (["Jazz"], Taxonomy(drop=("Jazz",)), "drops every label"),
        (["演歌"], Taxonomy(), "'演歌' has no Latin letters"),
        (["A---B", "C---B", "A-B"], Taxonomy(), "two genres would have the slug a-b"),
        (["x" * 70], Taxonomy(), "too long"),
    ],
)
def test_what_does_not_fit_is_named(labels: list[str], taxonomy: Taxonomy, said: str) -> None:
    with pytest.raises(TaxonomyError, match=said):
        map_labels(labels, taxonomy)


def test_the_docstrings_example_is_read(tmp_path: Path) -> None:
    import exporter.adopt.taxonomy as module

    assert module.__doc__ is not None
    (tmp_path / "t.toml").write_text(module.__doc__.split("```toml")[1].split("```")[0])
    assert read_taxonomy(tmp_path / "t.toml").drop == ("Speech", "Silence")


@pytest.mark.parametrize(
    ("text", "said"),
    [("[", "is not TOML"), ("colour = 1", "colour"), ('keep = ["a"]\ndrop = ["a"]', "'a' is named twice")],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(TaxonomyError, match=said):
        read_taxonomy(tmp_path / "t.toml")
    with pytest.raises(TaxonomyError, match="cannot read"):
        read_taxonomy(tmp_path / "none.toml")


def test_a_label_is_named_once() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        Taxonomy(keep=("a",), rename={"a": "b"})
