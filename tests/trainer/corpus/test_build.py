import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from media.decode import decode_windows
from media.lyrics import clean_lyrics, read_lyrics
from schemas.bundle import AudioInput
from schemas.errors import ConfigError
from storage.errors import OutputError
from trainer.corpus.build import build_corpus
from trainer.corpus.labels import GENRES, PARENTS, SLUGS
from trainer.corpus.signal import SECONDS
from trainer.data.read import read_library
from trainer.data.track import SPLITS

TRACKS = 24

AUDIO = AudioInput(sample_rate=22_050, window_seconds=10, windows=1, picking="spread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    build_corpus(folder, tracks=TRACKS, seed=7, processes=1)
    return folder


@pytest.fixture(scope="module")
def rows(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]


def file_digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_with_any_process_count(corpus: Path, tmp_path: Path) -> None:
    build_corpus(tmp_path / "again", tracks=TRACKS, seed=7, processes=2)
    assert file_digests(tmp_path / "again") == file_digests(corpus)


def test_another_seed_gives_other_tracks(corpus: Path, tmp_path: Path) -> None:
    build_corpus(tmp_path / "other", tracks=4, seed=8, processes=1)
    assert not set(file_digests(tmp_path / "other" / "audio").values()) & set(
        file_digests(corpus / "audio").values()
    )


def test_a_manifest_row_has_all_columns(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == len({row["track_id"] for row in rows}) == TRACKS
    for row in rows:
        assert list(row) == [
            "track_id", "audio", "lyrics", "genres", "artist", "title", "language", "split",
        ]  # fmt: skip
        assert set(row["genres"]) <= set(SLUGS)
        assert {PARENTS[slug] for slug in row["genres"] if slug in PARENTS} <= set(row["genres"])


def test_every_file_decodes_to_a_whole_clip(corpus: Path, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        clip = decode_windows((corpus / row["audio"]).read_bytes(), AUDIO)
        assert clip.seconds == pytest.approx(SECONDS, abs=0.2)
    assert len({Path(row["audio"]).suffix for row in rows}) > 1


def test_sung_tracks_have_lyrics_and_instrumentals_have_none(
    corpus: Path, rows: list[dict[str, Any]]
) -> None:
    assert {row["lyrics"] is None for row in rows} == {True, False}
    for row in rows:
        text = corpus / "lyrics" / f"{row['track_id']}.txt"
        assert text.exists() == (row["lyrics"] is not None)
        if row["lyrics"] is not None:
            assert len(clean_lyrics(read_lyrics(text.read_bytes())).split()) > 50


def test_no_artist_is_in_two_splits(rows: list[dict[str, Any]]) -> None:
    splits = defaultdict(set)
    for row in rows:
        splits[row["artist"]].add(row["split"])
    assert {len(found) for found in splits.values()} == {1}
    assert {row["split"] for row in rows} == set(SPLITS)


def test_the_trainer_reads_the_corpus(corpus: Path) -> None:
    library = read_library(corpus / "manifest.jsonl")
    assert library.genres == GENRES
    assert len(library.tracks) == TRACKS


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine").write_text("precious")
    with pytest.raises(OutputError, match="exists"):
        build_corpus(tmp_path / "corpus", tracks=4, seed=7)
    assert (tmp_path / "corpus" / "mine").read_text() == "precious"


@pytest.mark.parametrize(("tracks", "seed"), [(0, 7), (-1, 7), (4, -1)])
def test_invalid_numbers_are_refused(tmp_path: Path, tracks: int, seed: int) -> None:
    with pytest.raises(ConfigError):
        build_corpus(tmp_path / "corpus", tracks=tracks, seed=seed)
    assert not list(tmp_path.iterdir())
