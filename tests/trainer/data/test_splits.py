"""Splits: shares, genres and artists; and what must never be in two of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from schemas.bundle import Genre
from trainer.data.library import Library
from trainer.data.read import require_examples
from trainer.data.splits import refuse_shared_audio, with_splits
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


def test_every_genre_is_shared_out() -> None:
    tracks = with_splits(a_catalog())
    for genre in GENRES:
        found = Counter(track.split for track in tracks if genre in track.genres)
        for split, share in SPLIT_SHARES.items():
            assert found[split] / found.total() == pytest.approx(share, abs=0.06)
    sizes = Counter(track.split for track in tracks)
    assert [sizes[split] for split in SPLITS] == pytest.approx([420, 60, 120], abs=12)


def test_artists_stay_together() -> None:
    splits = {(track.artist, track.split) for track in with_splits(a_catalog())}
    assert len(splits) == len({artist for artist, _ in splits})


def test_in_whatever_order_they_are_listed_tracks_are_dealt_alike() -> None:
    splits = {track.track_id: track.split for track in with_splits(a_catalog())}
    assert splits == {track.track_id: track.split for track in with_splits(a_catalog()[::-1])}


def test_a_genre_of_few_artists_is_trained_on() -> None:
    """The rarer one takes the artist who has both to the test."""
    tracks = [a_track(f"a{number}", "one", ("rare",)) for number in range(3)]
    tracks += [
        a_track("b", "two", ("rare", "other")),
        *(a_track(str(n), "two", ("other",)) for n in range(4)),
    ]
    found = with_splits([*tracks, *a_catalog(60)])
    for genre in ("rare", "other"):
        assert "train" in {track.split for track in found if genre in track.genres}


def test_the_seed_decides() -> None:
    one, same, other = (with_splits(a_catalog(), seed) for seed in (0, 0, 1))
    assert one == same != other


def test_unknown_artists_are_not_one_artist() -> None:
    found = Counter(track.split for track in with_splits([a_track(str(number)) for number in range(20)]))
    assert found == {"train": 14, "valid": 2, "test": 4}


def test_the_rarest_genres_are_trained_on() -> None:
    tracks = [a_track(str(number), genres=("g0", f"rare-{number}")) for number in range(3)]
    assert all(track.split == "train" for track in with_splits([*tracks, *a_catalog(60)])[:3])


def test_a_split_for_some_is_refused() -> None:
    with pytest.raises(ManifestError, match="1 of 2 tracks have no split"):
        with_splits([a_track("1", split="train"), a_track("2")])


def test_one_recording_in_two_splits_is_refused() -> None:
    one, two, three = a_track("1", split="train"), a_track("2", split="train"), a_track("3", split="test")
    refuse_shared_audio([(one, "same"), (two, "same"), (three, "other")])
    with pytest.raises(LeakError, match=r"audio of track 3 is in split train \(track 1\) and in split test"):
        refuse_shared_audio([(one, "same"), (two, "other"), (three, "same")])


def test_all_that_is_in_two_splits_is_named(caplog: pytest.LogCaptureFixture) -> None:
    tracks = [
        a_track(f"{artist} {split}", artist, split=split) for artist in "ab" for split in ("train", "test")
    ]
    with pytest.raises(LeakError, match=r"artist a is in split train \(.*; 1 others too, see above"):
        with_splits(tracks)
    assert "artist b is in split train (track b train)" in caplog.text


def test_an_artist_is_one_however_the_name_is_written() -> None:
    tracks = [a_track("1", "The Beatles", split="train"), a_track("2", "the beatles ", split="test")]
    with pytest.raises(LeakError, match=r"artist the beatles .* is in split train"):
        with_splits(tracks)
    unsplit = [a_track(str(n), ("Abba", "ABBA", " abba")[n % 3]) for n in range(9)]
    others = [a_track(f"{n} other", f"artist {n}") for n in range(30)]
    splits = {
        track.split for track in with_splits([*unsplit, *others]) if track.track_id in map(str, range(9))
    }
    assert len(splits) == 1


def library(*tracks: Track) -> Library:
    genres = tuple(Genre(slug=slug, name=slug) for slug in ("g0", "g1", "g2"))
    return Library(Path(), genres, tuple(with_splits(tracks)))


def test_one_track_only() -> None:
    with pytest.raises(ManifestError, match="needs two tracks at least; there are 1 tracks in all"):
        require_examples(library(a_track("1")))


def test_a_genre_that_is_never_trained_on() -> None:
    given: list[Split] = ["train", "train", "valid", "valid", "test", "test"]
    tracks = [a_track(str(number), split=split) for number, split in enumerate(given)]
    tracks[-1] = a_track("5", genres=("g1", "g2"), split="test")
    with pytest.raises(ManifestError, match=r"train has the genre g1: .*1 other genres are as bad: g2\)"):
        require_examples(library(*tracks))
