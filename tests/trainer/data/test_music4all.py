"""Reading Music4All, in the exact formats of its files."""

import logging
import shutil
from pathlib import Path

import pytest

from trainer.data.music4all import read_music4all
from trainer.data.read import read_library
from trainer.errors import ManifestError

TABLES = {
    "id_information.csv": ("id", "artist", "song", "album_name"),
    "id_genres.csv": ("id", "genres"),
    "id_lang.csv": ("id", "lang"),
    "id_metadata.csv": ("id", "spotify_id", "popularity", "release"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with twenty valid tracks of ten artists, and one track for each reason to exclude a track."""
    rows: dict[str, list[tuple[str, ...]]] = {name: [] for name in TABLES}
    (tmp_path / "audios").mkdir()
    (tmp_path / "lyrics").mkdir()
    good = [f"good{number:012d}" for number in range(20)]
    bad = [
        f"{name:x<16}"
        for name in (
            "noclip",
            "nolyrics",
            "german",
            "instr",
            "nogenre",
            "noartist",
            "nolang",
            "emptyclip",
            "emptylyr",
        )
    ]
    for number, key in enumerate([*good, *bad]):
        artist = "" if key.startswith("noartist") else f'The "{number // 2}'
        rows["id_information.csv"].append((key, artist, f"Song {number}", "Album"))
        genres = "rock,alternative rock" if number % 2 else "rock"
        rows["id_genres.csv"].append((key, "" if key.startswith("nogenre") else genres))
        language = {"german": "de", "instr": "INTRUMENTAL"}.get(key.strip("x"), "en")
        if not key.startswith("nolang"):
            rows["id_lang.csv"].append((key, language))
        rows["id_metadata.csv"].append((key, "spotify", "50.0", "1999"))
        if not key.startswith("noclip"):
            content = b"" if key.startswith("emptyclip") else b"ID3"
            (tmp_path / "audios" / f"{key}.mp3").write_bytes(content)
        if not key.startswith("nolyrics"):
            words = "" if key.startswith("emptylyr") else "la la la"
            (tmp_path / "lyrics" / f"{key}.txt").write_text(words)
    rows["id_genres.csv"][0] = (good[0], "rock,polka")
    for name, header in TABLES.items():
        lines = ["\t".join(cells) + "\n" for cells in (header, *rows[name])]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    return tmp_path


def test_the_number_of_tracks_after_each_filter_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="trainer"):
        library = read_music4all(folder)
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "29 tracks",
        "28 tracks",
        "27 tracks",
        "25 tracks",
        "23 tracks",
        "20 tracks",
        "20 tracks",
    ]
    assert "with lyrics in English: 20 tracks" in caplog.messages
    assert all(track.track_id.startswith("good") for track in library.tracks)


def test_tracks_have_the_data_of_the_tables(folder: Path) -> None:
    track = read_music4all(folder).tracks[1]
    assert track.artist == 'The "0'
    assert track.genres == ("rock", "alternative-rock")
    assert track.language == "en"
    assert read_music4all(folder).load_lyrics(track) == "la la la"
    assert read_music4all(folder).load_audio(track) == b"ID3"


def test_genres_with_few_tracks_are_excluded(folder: Path) -> None:
    assert [(genre.slug, genre.name) for genre in read_music4all(folder).genres] == [
        ("alternative-rock", "alternative rock"),
        ("rock", "rock"),
    ]


def test_only_genres_of_genres_json_are_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "genres.json").write_text('[{"slug": "polka", "name": "Polka"}]')
    library = read_music4all(folder)
    assert [track.genres for track in library.tracks] == [("polka",)]


def test_tracks_of_the_folder_are_assigned_to_splits(folder: Path) -> None:
    library = read_library(folder)
    assert [len(library.in_split(split)) for split in ("train", "valid", "test")] == [14, 2, 4]


@pytest.mark.parametrize("name", [*TABLES, "audios", "lyrics"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ManifestError, match=name):
        read_music4all(folder)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"cannot read .*id_information\.csv"):
        read_library(tmp_path)


def test_a_table_with_another_separator_is_refused(folder: Path) -> None:
    (folder / "id_lang.csv").write_text("id,lang\n")
    with pytest.raises(ManifestError, match="has no column id: the file must be tab-separated"):
        read_music4all(folder)
