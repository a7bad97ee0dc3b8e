"""Which tracks are trained on: no artist, and no recording, is in two splits.

A network that has heard an artist recognises the voice, and so scores better than on a new one.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from trainer.data.digest import content_digest
from trainer.data.track import SPLIT_SHARES, SPLITS, Split, Track
from trainer.errors import LeakError, ManifestError

SEED = 0
"""Not that of a fit: runs of several seeds, and later evaluations, share one split."""

log = logging.getLogger(__name__)


def with_splits(tracks: Sequence[Track], seed: int = SEED) -> list[Track]:
    """The tracks with the splits they have or, where none has one, with new ones; artists are kept apart.

    Raises ManifestError where only some have one, LeakError.
    """
    without = sum(track.split is None for track in tracks)
    if 0 < without < len(tracks):
        raise ManifestError(f"{without} of {len(tracks)} tracks have no split: give it to all, or to none")
    if without:
        splits = _stratified(tracks, seed)
        tracks = [
            track.model_copy(update={"split": split}) for track, split in zip(tracks, splits, strict=True)
        ]
    _refuse_leaks((key, track, f"artist {track.artist}") for track in tracks if (key := artist_key(track)))
    return list(tracks)


def artist_key(track: Track) -> str:
    """Artists whose names differ in case and spaces alone are one."""
    return " ".join((track.artist or "").casefold().split())


def artist_digest(track: Track) -> str | None:
    """What a checkpoint remembers of an artist: not the name. None where unknown."""
    name = artist_key(track)
    return content_digest("artist", name) if name else None


def _stratified(tracks: Sequence[Track], seed: int) -> list[Split]:
    """Iterative stratification (Sechidis et al., 2011), of artists in place of tracks.

    The rarest genre is dealt out first: its artists, the most productive first, each to the split that lacks
    most of its share of that genre. Then the genre that is rarest among the artists left, and so on.
    """
    own: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, track in enumerate(tracks):
        name = artist_key(track)
        own["artist" if name else "track", name or track.track_id].append(number)
    # By hash: in whatever order the tracks are listed, they are dealt alike.
    artists = sorted(own, key=lambda artist: content_digest(str(seed), *artist))
    genres_of = {artist: Counter(genre for n in own[artist] for genre in tracks[n].genres) for artist in own}
    having: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for artist in artists:
        for genre in genres_of[artist]:
            having[genre].append(artist)
    totals = Counter(genre for track in tracks for genre in track.genres)
    lacking = {split: {genre: SPLIT_SHARES[split] * totals[genre] for genre in totals} for split in SPLITS}
    room = {split: SPLIT_SHARES[split] * len(tracks) for split in SPLITS}
    left = totals.copy()
    found: dict[tuple[str, str], Split] = {}
    while left:
        rarest = min(left, key=lambda genre: (left[genre], genre))
        dealt = [artist for artist in having[rarest] if artist not in found]
        for artist in sorted(dealt, key=lambda artist: -genres_of[artist][rarest]):
            split = max(SPLITS, key=lambda split: (lacking[split][rarest], room[split]))
            found[artist] = split
            room[split] -= len(own[artist])
            left -= genres_of[artist]
            for genre, count in genres_of[artist].items():
                lacking[split][genre] -= count
    for genre in sorted(totals):
        # A genre whose few artists had others too may have missed the training.
        if all(found[artist] != "train" for artist in having[genre]):
            found[min(having[genre], key=lambda artist: len(own[artist]))] = "train"
    splits = {n: found[artist] for artist, numbers in own.items() for n in numbers}
    return [splits[number] for number in range(len(tracks))]


def refuse_shared_audio(heard: Iterable[tuple[Track, str]]) -> None:
    """Raises LeakError where tracks of two splits, given with a digest of their audio, are one recording."""
    _refuse_leaks((digest, track, f"the audio of track {track.track_id}") for track, digest in heard)


def _refuse_leaks(known: Iterable[tuple[str, Track, str]]) -> None:
    """All of them are logged: whoever mends the manifest needs every one."""
    first: dict[str, Track] = {}
    leaks: dict[tuple[str, Split | None], str] = {}
    for key, track, what in known:
        other = first.setdefault(key, track)
        if other.split != track.split:
            leaks.setdefault(
                (key, track.split),
                f"{what} is in split {other.split} (track {other.track_id}) and in split {track.split} "
                f"(track {track.track_id})",
            )
    if leaks:
        others = ""
        if len(leaks) > 1:
            log.warning("%s", "\n".join(leaks.values()))
            others = f"; {len(leaks) - 1} others too, see above"
        raise LeakError(f"{next(iter(leaks.values()))}: keep it in one, or list it once{others}")
