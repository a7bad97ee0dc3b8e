"""A track's audio: the recipes of its genres combined into one, played bar by bar, and mixed."""

from dataclasses import dataclass, fields, replace

import numpy as np

from trainer.corpus.harmony import chord, semitones
from trainer.corpus.instruments import VOWELS, Player, Singer
from trainer.corpus.labels import SLUGS, LabelSet
from trainer.corpus.recipe import Recipe, Span
from trainer.corpus.recipes import RECIPES
from trainer.corpus.signal import (
    SAMPLE_RATE,
    SAMPLES,
    SECONDS,
    Waveform,
    add_at,
    distorted,
    in_a_room,
    levelled,
    silence,
)

GUESTS = 0.12
"""Probability that a part of a track comes from a random genre instead of one of its own."""

LOOSENESS = 0.006
"""Standard deviation of the timing of strokes, in seconds."""

LEVELS = {"drums": -18.0, "bass": -20.0, "chords": -20.0, "lead": -23.0, "vocals": -18.0}
"""Mean level of each bus in dB RMS relative to full scale; each track's mix varies around it."""

PEAK = 0.89
"""Peak amplitude of a track: -1 dBFS, usual in mastering."""


@dataclass(frozen=True)
class Touch:
    """Properties of an artist's sound, common to tracks of all genres."""

    cents: float
    """Tuning."""
    pace: float
    """Factor on the tempo."""
    tilt: float
    """Added dB an octave."""
    tract: float
    """Scale of the singer's formants."""
    register: float
    """MIDI pitch of the singer's lowest note."""
    balance: dict[str, float]
    """Added dB a bus."""

    @staticmethod
    def drawn(rng: np.random.Generator) -> "Touch":
        return Touch(
            cents=rng.normal(0, 12),
            pace=rng.normal(1, 0.03),
            tilt=rng.normal(0, 0.5),
            tract=rng.uniform(0.95, 1.2),
            register=rng.uniform(45, 60),
            balance={bus: rng.normal(0, 2) for bus in LEVELS},
        )


def perform(genres: LabelSet, sung: bool, touch: Touch, rng: np.random.Generator) -> Waveform:
    """Return `SECONDS` of a track with the sound of `genres`, and with a voice if it is sung."""
    return _Performance(arranged(genres, rng), touch, rng).recorded(sung)


def arranged(genres: LabelSet, rng: np.random.Generator) -> Recipe:
    """Return one recipe that takes its parts from the recipes of `genres` in turn."""
    order = [str(slug) for slug in rng.permutation(genres)]
    parts = {}
    for index, part in enumerate(fields(Recipe)):
        source = str(rng.choice(SLUGS)) if rng.random() < GUESTS else order[index % len(order)]
        parts[part.name] = getattr(RECIPES[source], part.name)
    return Recipe(**parts)


class _Performance:
    """One performance of a recipe. Draws the values that the recipe leaves open, then plays each bus."""

    def __init__(self, recipe: Recipe, touch: Touch, rng: np.random.Generator) -> None:
        self._rng = rng
        self._touch = touch
        self._recipe = recipe
        self._step = 60 / (self._drawn(recipe.beat.tempo) * touch.pace) / 4
        self._swing = self._drawn(recipe.beat.swing) * 2 * self._step
        self._bars = int(np.ceil(SECONDS / (16 * self._step)))
        self._scale = str(rng.choice(recipe.chords.scales))
        self._degrees = recipe.chords.progressions[rng.integers(len(recipe.chords.progressions))]
        self._shape = recipe.chords.shapes[rng.integers(len(recipe.chords.shapes))]
        self._key = int(self._drawn(recipe.chords.key))

    def recorded(self, sung: bool) -> Waveform:
        buses = {
            "drums": self._drums(),
            "bass": self._bass(),
            "chords": self._chords(),
            "lead": silence() if sung and self._rng.random() < 0.6 else self._lead(),
            "vocals": self._vocals() if sung else silence(),
        }
        mix = silence()
        for bus, sound in buses.items():
            mix += levelled(sound, LEVELS[bus] + self._touch.balance[bus] + self._rng.normal(0, 2))
        production = self._recipe.production
        hiss = self._rng.standard_normal(SAMPLES, dtype=np.float32)
        mix += levelled(hiss, self._drawn(production.hiss))
        mix = in_a_room(
            mix,
            self._rng,
            seconds=self._drawn(production.room),
            wet=self._drawn(production.wet),
            tilt=self._drawn(production.tilt) + self._touch.tilt,
            cutoff=self._drawn(production.cutoff),
        )
        return mix * np.float32(PEAK / max(1e-6, float(np.abs(mix).max())))

    def _drums(self) -> Waveform:
        bus = silence()
        beat = self._recipe.beat
        pattern = beat.patterns[self._rng.integers(len(beat.patterns))]
        for name, rhythm in pattern.items():
            drum = beat.kit[name]
            bent = replace(drum, hertz=drum.hertz * self._rng.uniform(0.85, 1.15))
            sound = bent.struck(self._rng) * np.float32(0.35 if name in ("hat", "ride") else 1)
            for bar in range(self._bars):
                for step, gain in self._strokes(rhythm):
                    add_at(bus, sound, self._sample(bar, step), gain)
        return bus

    def _bass(self) -> Waveform:
        bus = silence()
        bass = self._recipe.bass
        player = Player(bass.timbre, self._rng, self._touch.cents)
        rhythm = str(self._rng.choice(bass.rhythms))
        held = self._gaps(rhythm)
        for bar in range(self._bars):
            degree = self._degree(bar)
            for count, (step, gain) in enumerate(self._strokes(rhythm)):
                up = bass.steps[count % len(bass.steps)]
                pitch = _into(self._key + semitones(self._scale, degree - 1 + up), 31, 48)
                add_at(bus, player.note(pitch, held * self._step), self._sample(bar, step), gain)
        return bus

    def _chords(self) -> Waveform:
        bus = silence()
        chords = self._recipe.chords
        player = Player(chords.timbre, self._rng, self._touch.cents)
        rhythm = str(self._rng.choice(chords.rhythms))
        for bar in range(self._bars):
            pitches = [self._key + above for above in chord(self._scale, self._degree(bar), self._shape)]
            for count, (step, gain) in enumerate(self._strokes(rhythm)):
                struck = [pitches[count % len(pitches)]] if chords.broken else pitches
                start = self._sample(bar, step)
                for string, pitch in enumerate(struck):
                    strum = round(0.008 * string * SAMPLE_RATE)
                    add_at(bus, player.note(pitch, chords.gate * self._step), start + strum, gain)
        return distorted(bus, self._drawn(chords.drive))

    def _lead(self) -> Waveform:
        bus = silence()
        lead = self._recipe.lead
        player = Player(lead.timbre, self._rng, self._touch.cents)
        density = self._drawn(lead.density)
        place = 4
        for bar in range(self._bars):
            for step in range(0, 16, 2):
                if self._rng.random() > density:
                    continue
                place = int(np.clip(place + self._rng.integers(-2, 3), 0, 9))
                pitch = self._key + semitones(self._scale, place) + 12 * lead.octave
                length = self._step * float(self._rng.choice((2, 2, 4)))
                add_at(bus, player.note(pitch, length), self._sample(bar, step), self._rng.uniform(0.6, 1))
        return distorted(bus, self._drawn(lead.drive))

    def _vocals(self) -> Waveform:
        bus = silence()
        vocals = self._recipe.vocals
        singer = Singer(vocals.delivery, self._rng, self._touch.tract)
        density = self._drawn(vocals.density)
        place = vocals.reach // 2
        for bar in range(self._bars):
            if bar % 4 == 3 and self._rng.random() < 0.5:
                continue
            starts = [step for step in range(16) if self._rng.random() < density]
            for step, following in zip(starts, [*starts, 16][1:], strict=True):
                place = int(np.clip(place + self._rng.integers(-2, 3), 0, vocals.reach))
                pitch = _into(self._key, self._touch.register, self._touch.register + 12)
                pitch += semitones(self._scale, place)
                length = self._step * min(following - step, 8)
                sound = singer.syllable(str(self._rng.choice(list(VOWELS))), pitch, length)
                add_at(bus, sound, self._sample(bar, step), self._rng.uniform(0.6, 1))
        return bus

    def _drawn(self, span: Span) -> float:
        return float(self._rng.uniform(*span))

    def _degree(self, bar: int) -> int:
        return self._degrees[bar % len(self._degrees)]

    def _strokes(self, rhythm: str) -> list[tuple[int, float]]:
        """Return steps and gains of one bar. At random, strokes are left out and soft ones added."""
        strokes = []
        for step, mark in enumerate(rhythm):
            chance = self._rng.random()
            if mark == "x" and chance > 0.03:
                strokes.append((step, self._rng.uniform(0.8, 1)))
            elif mark == "o" or chance > 0.985:
                strokes.append((step, self._rng.uniform(0.25, 0.5)))
        return strokes

    def _gaps(self, rhythm: str) -> float:
        """Return the mean number of steps between strokes."""
        return 16 / max(1, sum(mark != "." for mark in rhythm))

    def _sample(self, bar: int, step: int) -> int:
        """Return the first sample of a step, with swing and random timing."""
        late = self._swing if step % 4 == 2 else self._swing / 2 if step % 2 else 0.0
        seconds = (16 * bar + step) * self._step + late + self._rng.normal(0, LOOSENESS)
        return round(max(0.0, seconds) * SAMPLE_RATE)


def _into(pitch: float, low: float, high: float) -> float:
    """Return the pitch moved by octaves into [`low`, `high`), a range of at least an octave."""
    while pitch < low:
        pitch += 12
    while pitch >= high:
        pitch -= 12
    return pitch
