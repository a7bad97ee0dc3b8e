"""Assignment of splits by share, genre and artist; and leaks between splits."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from schemas.bundle import Genre
from trainer.data.library import Library
from trainer.data.read import require_examples
from trainer.data.splits import assign_splits, check_shared_audio
from trainer.data.track import SPLIT_SHARES, SPLITS, Split, Track
from trainer.errors import LeakError, ManifestError

GENRES = [f"g{number}" for number in range(8)]


def a_track(
    name: str, artist: str | None = None, genres: tuple[str, ...] = ("g0",), split: Split | None = None
) -> Track:
    return Track(
        track_id=name, audio="x", lyrics=None, genres=genres, artist=artist, language=None, split=split
    )


def a_catalog(tracks: int = 600) -> list[Track]:
    """Artists of up to ten tracks, genres from common to rare."""
    chance = np.random.default_rng(0)
    catalog = []
    for number in range(tracks):
        own = [genre for rank, genre in enumerate(GENRES) if chance.random() < 0.5 / (1 + rank)] or ["g0"]
        catalog.append(a_track(str(number), f"artist {chance.integers(tracks // 5)}", tuple(own)))
    return catalog


def test_every_genre_has_its_share_in_each_split() -> None:
    tracks = assign_splits(a_catalog())
    for genre in GENRES:
        found = Counter(track.split for track in tracks if genre in track.genres)
        for split, share in SPLIT_SHARES.items():
            assert found[split] / found.total() == pytest.approx(share, abs=0.06)
    sizes = Counter(track.split for track in tracks)
    assert [sizes[split] for split in SPLITS] == pytest.approx([420, 60, 120], abs=12)


def test_all_tracks_of_an_artist_are_in_one_split() -> None:
    splits = {(track.artist, track.split) for track in assign_splits(a_catalog())}
    assert len(splits) == len({artist for artist, _ in splits})


def test_the_order_of_the_manifest_does_not_change_the_splits() -> None:
    splits = {track.track_id: track.split for track in assign_splits(a_catalog())}
    assert splits == {track.track_id: track.split for track in assign_splits(a_catalog()[::-1])}


def test_a_genre_with_few_artists_has_a_training_track() -> None:
    """The rarer genre assigns the artist of both genres to the test split."""
    tracks = [a_track(f"a{number}", "one", ("rare",)) for number in range(3)]
    tracks += [
        a_track("b", "two", ("rare", "other")),
        *(a_track(str(n), "two", ("other",)) for n in range(4)),
    ]
    found = assign_splits([*tracks, *a_catalog(60)])
    for genre in ("rare", "other"):
        assert "train" in {track.split for track in found if genre in track.genres}


def test_the_assignment_depends_on_the_seed_only() -> None:
    one, same, other = (assign_splits(a_catalog(), seed) for seed in (0, 0, 1))
    assert one == same != other


def test_tracks_without_an_artist_are_split_separately() -> None:
    found = Counter(track.split for track in assign_splits([a_track(str(number)) for number in range(20)]))
    assert found == {"train": 14, "valid": 2, "test": 4}


def test_the_rarest_genres_have_training_tracks() -> None:
    tracks = [a_track(str(number), genres=("g0", f"rare-{number}")) for number in range(3)]
    assert all(track.split == "train" for track in assign_splits([*tracks, *a_catalog(60)])[:3])


def test_a_manifest_with_splits_for_some_tracks_is_refused() -> None:
    with pytest.raises(ManifestError, match="1 of 2 tracks have no split"):
        assign_splits([a_track("1", split="train"), a_track("2")])


def test_one_recording_in_two_splits_is_refused() -> None:
    one, two, three = a_track("1", split="train"), a_track("2", split="train"), a_track("3", split="test")
    check_shared_audio([(one, "same"), (two, "same"), (three, "other")])
    with pytest.raises(LeakError, match=r"audio of track 3 is in split train \(track 1\) and in split test"):
        check_shared_audio([(one, "same"), (two, "other"), (three, "same")])


def test_all_leaks_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    tracks = [
        a_track(f"{artist} {split}", artist, split=split) for artist in "ab" for split in ("train", "test")
    ]
    with pytest.raises(
        LeakError, match=r"artist a is in split train \(.*; 1 other leaks, see the warnings above"
    ):
        assign_splits(tracks)
    assert "artist b is in split train (track b train)" in caplog.text


def test_case_and_spaces_of_artist_names_are_ignored() -> None:
    tracks = [a_track("1", "The Beatles", split="train"), a_track("2", "the beatles ", split="test")]
    with pytest.raises(LeakError, match=r"artist the beatles .* is in split train"):
        assign_splits(tracks)
    unsplit = [a_track(str(n), ("Abba", "ABBA", " abba")[n % 3]) for n in range(9)]
    others = [a_track(f"{n} other", f"artist {n}") for n in range(30)]
    splits = {
        track.split for track in assign_splits([*unsplit, *others]) if track.track_id in map(str, range(9))
    }
    assert len(splits) == 1


def library(*tracks: Track) -> Library:
    genres = tuple(Genre(slug=slug, name=slug) for slug in ("g0", "g1", "g2"))
    return Library(Path(), genres, tuple(assign_splits(tracks)))


def test_a_split_with_too_few_tracks_is_refused() -> None:
    with pytest.raises(ManifestError, match="needs at least two tracks; there are 1 tracks in all"):
        require_examples(library(a_track("1")))


def test_a_genre_without_training_tracks_is_refused() -> None:
    given: list[Split] = ["train", "train", "valid", "valid", "test", "test"]
    tracks = [a_track(str(number), split=split) for number, split in enumerate(given)]
    tracks[-1] = a_track("5", genres=("g1", "g2"), split="test")
    with pytest.raises(ManifestError, match=r"train has the genre g1: .*1 other genres too: g2\)"):
        require_examples(library(*tracks))
