"""Which tracks are trained on: no artist, and no recording, is in two splits.

A network that has heard an artist recognises the voice, and so scores better than on a new one.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from trainer.errors import LeakError, ManifestError
from trainer.library import SPLITS, Library, Split, Track

SHARES: Mapping[Split, float] = {"train": 0.7, "valid": 0.1, "test": 0.2}

SEED = 0
"""Not that of a fit: runs of several seeds, and later evaluations, share one split."""


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
    _refuse_leaks((track.artist, track, f"artist {track.artist}") for track in tracks if track.artist)
    return list(tracks)


def _stratified(tracks: Sequence[Track], seed: int) -> list[Split]:
    """Iterative stratification (Sechidis et al., 2011), of artists in place of tracks.

    The rarest genre is dealt out first: its artists, the most productive first, each to the split that lacks
    most of its share of that genre. Then the genre that is rarest among the artists left, and so on.
    """
    chance = random.Random(seed)
    artists: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, track in enumerate(tracks):
        key = ("artist", track.artist) if track.artist else ("track", track.track_id)
        artists[key].append(number)
    waiting = list(artists.values())
    chance.shuffle(waiting)
    genres_of = {id(own): Counter(genre for n in own for genre in tracks[n].genres) for own in waiting}
    totals = Counter(genre for track in tracks for genre in track.genres)
    lacking = {split: {genre: SHARES[split] * totals[genre] for genre in totals} for split in SPLITS}
    room = {split: SHARES[split] * len(tracks) for split in SPLITS}
    found: dict[int, Split] = {}
    while waiting:
        left = Counter[str]()
        for own in waiting:
            left.update(genres_of[id(own)])
        rarest = min(left, key=lambda genre: (left[genre], genre))
        dealt = [own for own in waiting if rarest in genres_of[id(own)]]
        for own in sorted(dealt, key=lambda own: -genres_of[id(own)][rarest]):
            split = max(SPLITS, key=lambda split: (lacking[split][rarest], room[split]))
            found |= dict.fromkeys(own, split)
            room[split] -= len(own)
            for genre, count in genres_of[id(own)].items():
                lacking[split][genre] -= count
        waiting = [own for own in waiting if rarest not in genres_of[id(own)]]
    return [found[number] for number in range(len(tracks))]


def require_examples(library: Library) -> None:
    """Raises ManifestError where there is too little to train, to validate or to test on."""
    for split in SPLITS:
        if len(library.of(split)) < 2:
            raise ManifestError(
                f"split {split} needs two tracks at least; there are {len(library.tracks)} tracks in all"
            )
    counts = library.labels(library.of("train")).sum(0).tolist()
    for genre, count in zip(library.genres, counts, strict=True):
        if not count:
            raise ManifestError(
                f"no track of split train has the genre {genre.slug}: add some, or leave it out"
            )


def refuse_shared_audio(heard: Iterable[tuple[Track, str]]) -> None:
    """Raises LeakError where tracks of two splits, given with a digest of their audio, are one recording."""
    _refuse_leaks((digest, track, f"the audio of track {track.track_id}") for track, digest in heard)


def _refuse_leaks(known: Iterable[tuple[str, Track, str]]) -> None:
    first: dict[str, Track] = {}
    for key, track, what in known:
        other = first.setdefault(key, track)
        if other.split != track.split:
            raise LeakError(
                f"{what} is in split {other.split} (track {other.track_id}) and in split {track.split} "
                f"(track {track.track_id}): keep it in one"
            )
