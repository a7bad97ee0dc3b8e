"""Manifests: what is read, and one line for each that is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainer.data import read_library
from trainer.errors import ManifestError


def test_reads_tracks_genres_and_lyrics(manifest: Path) -> None:
    library = read_library(manifest)
    assert [genre.slug for genre in library.genres] == ["tone", "low-tone", "high-tone", "love"]
    assert {split: len(library.of(split)) for split in ("train", "valid", "test")} == {
        "train": 24,
        "valid": 12,
        "test": 12,
    }
    assert library.lyrics(library.tracks[0]) == ""
    assert library.lyrics(library.tracks[1]) == "\n".join(["love heart kiss forever darling"] * 2)


def test_labels_include_parents(manifest: Path) -> None:
    library = read_library(manifest)
    assert library.labels(library.tracks[:4]).tolist() == [
        [1, 1, 0, 1],
        [1, 0, 1, 1],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
    ]


@pytest.fixture
def copy(manifest: Path, tmp_path: Path) -> Path:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    return tmp_path / "copy" / manifest.name


def change_line(manifest: Path, number: int, changes: dict[str, Any]) -> None:
    lines = manifest.read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **changes})
    manifest.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"genres": ["polka"]}, "line 3: polka is not a genre"),
        ({"genres": []}, "line 3: genres"),
        ({"split": "dev"}, "line 3: split"),
        ({"audio": ""}, "line 3: audio"),
        ({"lyrics": 5}, "line 3: lyrics"),
        ({"track_id": "track-0"}, "line 3: track_id track-0 came before"),
    ],
)
def test_wrong_lines_are_named(copy: Path, changes: dict[str, Any], complaint: str) -> None:
    change_line(copy, 3, changes)
    with pytest.raises(ManifestError, match=complaint) as raised:
        read_library(copy)
    assert "\n" not in str(raised.value)


def test_a_line_without_a_key_is_named(copy: Path) -> None:
    with copy.open("a") as file:
        file.write('{"track_id": "new"}\n')
    with pytest.raises(ManifestError, match="line 49: audio: Field required"):
        read_library(copy)


def test_a_line_that_is_not_json_is_named(copy: Path) -> None:
    with copy.open("a") as file:
        file.write("track, audio\n")
    with pytest.raises(ManifestError, match="line 49: Invalid JSON"):
        read_library(copy)


def test_an_empty_split_is_named(copy: Path) -> None:
    kept = [line for line in copy.read_text().splitlines() if '"split": "valid"' not in line]
    copy.write_text("\n".join(kept))
    with pytest.raises(ManifestError, match="split valid"):
        read_library(copy)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot read"):
        read_library(tmp_path / "manifest.jsonl")


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
def test_wrong_genres(copy: Path, genres: list[dict[str, str]], complaint: str) -> None:
    (copy.parent / "genres.json").write_text(json.dumps(genres))
    with pytest.raises(ManifestError, match=complaint):
        read_library(copy)
