"""Labels, lyrics and audio of a library's tracks."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DEMO_BUNDLE
from tests.trainer.tables import write_rows
from trainer.data.library import Library
from trainer.data.manifest import read_manifest
from trainer.data.read import read_library
from trainer.errors import UnreadableFile
from worker.models.model import open_bundle


def test_labels_include_parents(manifest: Path) -> None:
    library = read_library(manifest)
    assert library.labels(library.tracks[:4]).tolist() == [
        [1, 1, 0, 1],
        [1, 0, 1, 1],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
    ]


def test_lyrics_from_a_file_are_cleaned(manifest: Path) -> None:
    library = read_library(manifest)
    assert library.load_lyrics(library.tracks[0]) == ""
    assert library.load_lyrics(library.tracks[1]) == "\n".join(["love heart kiss forever darling"] * 2)


def test_lyrics_are_a_path_or_the_text_itself(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("from a file")
    texts = ["1.txt", "[Chorus]\nla la", "", "none.txt"]
    rows = [{"track_id": str(number), "lyrics": lyrics} for number, lyrics in enumerate(texts)]
    library = read_manifest(write_rows(tmp_path / "tracks.csv", rows))
    assert [library.load_lyrics(track) for track in library.tracks[:3]] == ["from a file", "la la", ""]
    with pytest.raises(UnreadableFile, match=r"cannot read none\.txt"):
        library.load_lyrics(library.tracks[3])


def test_files_in_s3(tmp_path: Path, s3: Any, bucket: str, stored_in_s3: None) -> None:
    s3.put_object(Bucket=bucket, Key="songs/1.txt", Body=b"la la")
    rows = [
        {"track_id": "1", "audio": f"s3://{bucket}/songs/none.mp3", "lyrics": f"s3://{bucket}/songs/1.txt"}
    ]
    library = read_manifest(write_rows(tmp_path / "tracks.csv", rows))
    assert library.load_lyrics(library.tracks[0]) == "la la"
    with pytest.raises(UnreadableFile, match=r"cannot read s3://.*none\.mp3: .*404"):
        library.load_audio(library.tracks[0])


def test_the_order_of_genres_changes_the_identity(manifest: Path) -> None:
    library = read_library(manifest)
    reversed_genres = Library(library.folder, library.genres[::-1], library.tracks)
    assert reversed_genres.identity != library.identity == read_library(manifest).identity


def test_lyrics_that_look_like_a_path_without_its_ending_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.TXT").write_text("from a file")
    rows = [
        {"track_id": str(number), "lyrics": lyrics} for number, lyrics in enumerate(["1.TXT", "lyrics/1"])
    ]
    library = read_manifest(write_rows(tmp_path / "tracks.csv", rows))
    assert library.load_lyrics(library.tracks[0]) == "from a file"
    with pytest.raises(
        UnreadableFile, match=r"lyrics lyrics/1 look like a path: a lyrics file must end with \.txt or \.lrc"
    ):
        library.load_lyrics(library.tracks[1])


def test_training_reads_the_same_lyrics_as_serving(tmp_path: Path) -> None:
    shutil.copytree(DEMO_BUNDLE, tmp_path / "bundle")
    manifest_file = tmp_path / "bundle" / "bundle.json"
    manifest = json.loads(manifest_file.read_text())
    manifest["lyrics"] |= {"languages": ["en"]}
    manifest_file.write_text(json.dumps(manifest))
    model = open_bundle(tmp_path / "bundle")
    texts = [None, " ", "[Instrumental]", "[Verse]\nla", "la", "love me tender"]
    rows = [
        {"track_id": f"{text}-{language}", "lyrics": text, "language": language}
        for text in texts
        for language in (None, "en", "EN-gb", "de", "de-AT")
    ]
    library = read_manifest(write_rows(tmp_path / "tracks.csv", rows))
    used = []
    for row, track in zip(rows, library.tracks, strict=True):
        ids, use = model.encode_lyrics(row["lyrics"], row["language"])
        assert bool(library.load_lyrics(track, model.manifest.lyrics)) == (use == "used") == bool(ids), row
        used.append(use)
    assert set(used) == {"used", "absent", "instrumental", "unsupported_language"}
