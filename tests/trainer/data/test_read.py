"""Reading a library: splits from the manifest, or assigned."""

import logging
from pathlib import Path

import pytest

from tests.trainer.tables import write_rows
from trainer.data.read import read_library
from trainer.errors import LeakError


def test_splits_of_the_manifest_are_kept(manifest: Path) -> None:
    library = read_library(manifest)
    assert {split: len(library.in_split(split)) for split in ("train", "valid", "test")} == {
        "train": 24,
        "valid": 12,
        "test": 12,
    }


def test_splits_are_assigned_if_the_manifest_has_none(tmp_path: Path) -> None:
    manifest = write_rows(
        tmp_path / "tracks.csv",
        [{"track_id": f"t{n}", "artist": f"a{n // 2}", "genres": "Rock|Pop"} for n in range(40)],
    )
    library = read_library(manifest)
    assert [len(library.in_split(split)) for split in ("train", "valid", "test")] == [28, 4, 8]
    assert library.assigned
    assert read_library(manifest) == library


def test_the_sizes_of_the_splits_are_logged(manifest: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="trainer"):
        assert not read_library(manifest).assigned
    assert "48 tracks of 4 genres: 24 train, 12 valid, 12 test" in caplog.text


def test_an_artist_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = [{"track_id": split, "artist": "Abba", "split": split} for split in ("train", "test")]
    with pytest.raises(LeakError, match=r"artist Abba is in split train .* and in split test"):
        read_library(write_rows(tmp_path / "tracks.csv", rows))
