"""Assign tracks to splits, and check that no artist and no recording is in two splits.

Otherwise the test score would be inflated by leakage: a network can recognise an artist's voice, or a
recording, that it was trained on.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from trainer.data.digest import content_digest
from trainer.data.track import SPLIT_SHARES, SPLITS, Split, Track
from trainer.errors import LeakError, ManifestError

SEED = 0
"""Seed of the assignment. Not `fit.seed`: runs with several seeds, and evaluations, have equal splits."""

log = logging.getLogger(__name__)


def assign_splits(tracks: Sequence[Track], seed: int = SEED) -> list[Track]:
    """Return the tracks with the splits of the manifest or, if no track has one, with assigned splits.

    Raises ManifestError if only some tracks have a split, and LeakError if an artist is in two splits.
    """
    without = sum(track.split is None for track in tracks)
    if 0 < without < len(tracks):
        raise ManifestError(
            f"{without} of {len(tracks)} tracks have no split: give a split to all tracks or to none"
        )
    if without:
        splits = _stratify_artists(tracks, seed)
        tracks = [
            track.model_copy(update={"split": split}) for track, split in zip(tracks, splits, strict=True)
        ]
    _check_leaks((key, track, f"artist {track.artist}") for track in tracks if (key := artist_key(track)))
    return list(tracks)


def artist_key(track: Track) -> str:
    """Return the artist's name with case and spaces normalised; empty if unknown."""
    return " ".join((track.artist or "").casefold().split())


def artist_digest(track: Track) -> str | None:
    """Return the digest of the artist that a checkpoint stores instead of the name; None if unknown."""
    name = artist_key(track)
    return content_digest("artist", name) if name else None


def _stratify_artists(tracks: Sequence[Track], seed: int) -> list[Split]:
    """Return a split for each track, by iterative stratification (Sechidis et al., 2011) of artists.

    The artists of the rarest genre are assigned first, those with most tracks of it first, each to the split
    that lacks most tracks of that genre. Then follows the genre that is rarest among the remaining tracks,
    and so on.
    """
    tracks_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, track in enumerate(tracks):
        name = artist_key(track)
        tracks_of["artist" if name else "track", name or track.track_id].append(number)
    # Sorted by a digest, so that the assignment does not depend on the order of the manifest.
    artists = sorted(tracks_of, key=lambda artist: content_digest(str(seed), *artist))
    genres_of = {
        artist: Counter(genre for number in tracks_of[artist] for genre in tracks[number].genres)
        for artist in artists
    }
    artists_of: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for artist in artists:
        for genre in genres_of[artist]:
            artists_of[genre].append(artist)
    totals = Counter(genre for track in tracks for genre in track.genres)
    missing = {split: {genre: SPLIT_SHARES[split] * totals[genre] for genre in totals} for split in SPLITS}
    missing_tracks = {split: SPLIT_SHARES[split] * len(tracks) for split in SPLITS}
    remaining = totals.copy()
    assigned: dict[tuple[str, str], Split] = {}
    while remaining:
        rarest = min(remaining, key=lambda genre: (remaining[genre], genre))
        unassigned = [artist for artist in artists_of[rarest] if artist not in assigned]
        for artist in sorted(unassigned, key=lambda artist: -genres_of[artist][rarest]):
            split = max(SPLITS, key=lambda split: (missing[split][rarest], missing_tracks[split]))
            assigned[artist] = split
            missing_tracks[split] -= len(tracks_of[artist])
            remaining -= genres_of[artist]
            for genre, count in genres_of[artist].items():
                missing[split][genre] -= count
    for genre in sorted(totals):
        # All artists of a rare genre may have been assigned elsewhere because of their other genres.
        if all(assigned[artist] != "train" for artist in artists_of[genre]):
            assigned[min(artists_of[genre], key=lambda artist: len(tracks_of[artist]))] = "train"
    splits = {number: assigned[artist] for artist, numbers in tracks_of.items() for number in numbers}
    return [splits[number] for number in range(len(tracks))]


def check_shared_audio(recordings: Iterable[tuple[Track, str]]) -> None:
    """Raise LeakError if tracks of two splits, given with the digest of their audio, have equal audio."""
    _check_leaks((digest, track, f"the audio of track {track.track_id}") for track, digest in recordings)


def _check_leaks(keys: Iterable[tuple[str, Track, str]]) -> None:
    """Raise LeakError if tracks of two splits have equal keys.

    `keys` has for each track the key, the track, and a description of the key. All leaks are logged, so that
    they can be corrected together.
    """
    first: dict[str, Track] = {}
    leaks: dict[tuple[str, Split | None], str] = {}
    for key, track, description in keys:
        other = first.setdefault(key, track)
        if other.split != track.split:
            leaks.setdefault(
                (key, track.split),
                f"{description} is in split {other.split} (track {other.track_id}) "
                f"and in split {track.split} (track {track.track_id})",
            )
    if leaks:
        others = ""
        if len(leaks) > 1:
            log.warning("%s", "\n".join(leaks.values()))
            others = f"; {len(leaks) - 1} other leaks, see the warnings above"
        raise LeakError(f"{next(iter(leaks.values()))}: use one split, or remove one of the tracks{others}")
