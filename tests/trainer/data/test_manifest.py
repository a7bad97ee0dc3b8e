"""Reading manifests, and the one-line errors of wrong ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas.bundle import Genre
from tests.trainer.tables import write_rows
from trainer.data.manifest import read_manifest
from trainer.errors import ManifestError

ROWS: list[dict[str, Any]] = [
    {"track_id": "1", "audio": "a/1.mp3", "lyrics": "la la", "genres": ["Hip Hop", "Soul"], "artist": "A"},
    {"track_id": "2", "audio": "s3://music/2.mp3", "lyrics": None, "genres": ["hip-hop"], "artist": None},
]


@pytest.mark.parametrize("name", ["tracks.csv", "tracks.jsonl", "tracks.parquet"])
def test_all_formats_give_the_same_tracks(tmp_path: Path, name: str) -> None:
    library = read_manifest(write_rows(tmp_path / name, ROWS))
    assert library.genres == (Genre(slug="hip-hop", name="Hip Hop"), Genre(slug="soul", name="Soul"))
    one, two = library.tracks
    assert (one.audio, one.lyrics, one.genres, one.artist) == ("a/1.mp3", "la la", ("hip-hop", "soul"), "A")
    assert (two.audio, two.lyrics, two.genres, two.artist) == ("s3://music/2.mp3", None, ("hip-hop",), None)
    assert one.split is two.split is None


@pytest.mark.parametrize("genres", ["Hip Hop|Soul", "Hip Hop | Soul|", '["Hip Hop", "Soul"]'])
def test_a_cell_may_hold_several_genres(tmp_path: Path, genres: str) -> None:
    library = read_manifest(write_rows(tmp_path / "tracks.csv", [{**ROWS[0], "genres": genres}]))
    assert library.tracks[0].genres == ("hip-hop", "soul")


@pytest.mark.parametrize("name", ["tracks.csv", "tracks.parquet"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ManifestError, match=r"tracks\.\w+ has no column lyrics; required are track_id, audio"
    ):
        read_manifest(write_rows(tmp_path / name, ROWS, without=("lyrics",)))


@pytest.mark.parametrize("genres", ["", "|", "[]"])
def test_a_track_without_genres_is_refused(tmp_path: Path, genres: str) -> None:
    with pytest.raises(ManifestError, match="line 2: genres"):
        read_manifest(write_rows(tmp_path / "tracks.csv", [{**ROWS[0], "genres": genres}]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tracks.txt", b"", "a manifest is .csv, .jsonl or .parquet"),
        ("tracks.parquet", b"nonsense", "is not a Parquet file"),
        ("tracks.csv", b"\xff\xfe", "is not UTF-8"),
        (
            "tracks.csv",
            b"track_id,audio,lyrics,genres,artist,language\n1,a.mp3\n",
            "line 2: has a different number of cells",
        ),
        ("tracks.csv", b'track_id,audio,lyrics,genres,artist,language\n1,"a', "line 1: unexpected end"),
    ],
)
def test_files_that_are_not_tables_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message) as raised:
        read_manifest(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_only_genres_of_the_checkpoint_are_allowed(tmp_path: Path) -> None:
    genres = (Genre(slug="soul", name="Soul Music"), Genre(slug="hip-hop", name="Hip Hop"))
    path = write_rows(tmp_path / "tracks.csv", ROWS)
    assert read_manifest(path, genres).genres == genres
    with pytest.raises(ManifestError, match="line 2: soul is not a genre of the checkpoint"):
        read_manifest(path, genres[1:])


@pytest.fixture
def copy(manifest: Path, tmp_path: Path) -> Path:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    return tmp_path / "copy" / manifest.name


def change_line(manifest: Path, number: int, changes: dict[str, Any]) -> None:
    lines = manifest.read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **changes})
    manifest.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genres": ["polka"]}, "line 3: polka is not a genre"),
        ({"genres": []}, "line 3: genres"),
        ({"split": "dev"}, "line 3: split"),
        ({"audio": ""}, "line 3: audio"),
        ({"lyrics": 5}, "line 3: lyrics"),
        ({"track_id": "track-0"}, "line 3: track_id track-0 is used by an earlier row"),
    ],
)
def test_wrong_lines_are_named(copy: Path, changes: dict[str, Any], message: str) -> None:
    change_line(copy, 3, changes)
    with pytest.raises(ManifestError, match=message) as raised:
        read_manifest(copy)
    assert "\n" not in str(raised.value)


def test_all_wrong_lines_are_logged(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (3, 9, 11):
        change_line(copy, number, {"split": "dev"})
    with pytest.raises(
        ManifestError, match=r"line 3: split.*; 2 other rows are wrong too, see the warnings above"
    ):
        read_manifest(copy)
    assert "line 9: split" in caplog.text
    assert "line 11: split" in caplog.text


def test_track_ids_may_be_numbers(tmp_path: Path) -> None:
    for name in ("tracks.jsonl", "tracks.parquet"):
        path = write_rows(tmp_path / name, [{**ROWS[0], "track_id": 17}])
        assert read_manifest(path).tracks[0].track_id == "17"


@pytest.mark.parametrize("name", ["tracks.csv", "tracks.jsonl"])
def test_a_byte_order_mark_is_ignored(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [track.track_id for track in read_manifest(path).tracks] == ["1", "2"]


def test_a_line_without_a_key_is_named(copy: Path) -> None:
    with copy.open("a") as file:
        file.write('{"track_id": "new"}\n')
    with pytest.raises(ManifestError, match="line 49: audio: Field required"):
        read_manifest(copy)


def test_a_line_that_is_not_json_is_named(copy: Path) -> None:
    with copy.open("a") as file:
        file.write("track, audio\n")
    with pytest.raises(ManifestError, match="line 49: Invalid JSON"):
        read_manifest(copy)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot read"):
        read_manifest(tmp_path / "manifest.jsonl")


def test_lines_of_json_may_leave_out_null_columns(tmp_path: Path) -> None:
    whole = {**ROWS[0], "language": "en"}
    manifest = tmp_path / "tracks.jsonl"
    manifest.write_text(
        json.dumps(whole) + "\n" + json.dumps({"track_id": "2", "audio": "2.mp3", "genres": ["soul"]})
    )
    track = read_manifest(manifest).tracks[1]
    assert (track.lyrics, track.artist, track.language) == (None, None, None)
    # A column that no line has is refused: it may be misspelt.
    manifest.write_text(json.dumps(whole).replace("artist", "artists"))
    with pytest.raises(ManifestError, match=r"tracks\.jsonl has no column artist"):
        read_manifest(manifest)


def test_a_genre_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    many = ", ".join(f"Genre {number}" for number in range(20))
    with pytest.raises(ManifestError, match=r"genre 'Genre 0, .* is too long: separate several genres"):
        read_manifest(write_rows(tmp_path / "tracks.csv", [{**ROWS[0], "genres": many}]))


def test_rows_with_missing_or_extra_cells_are_logged_with_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        "track_id,audio,lyrics,genres,artist,language",
        "1,a.mp3",
        ",b.mp3,,soul,,",
        "3,c.mp3,,soul,,,more",
    ]
    (tmp_path / "tracks.csv").write_text("\n".join(rows))
    with pytest.raises(
        ManifestError, match=r"line 2: has a different number of cells .*; 2 other rows are wrong too"
    ):
        read_manifest(tmp_path / "tracks.csv")
    assert "line 3: track_id" in caplog.text
    assert "line 4: has a different number of cells" in caplog.text
