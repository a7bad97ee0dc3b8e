"""Synthesises the audio of a track: combines the recipes of its genres, plays each bus bar by bar, mixes."""

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
    add_reverb,
    distort,
    set_level,
    silence,
)

GUEST_PROBABILITY = 0.12
"""Probability that a part of a track comes from a random genre instead of one of its own."""

TIMING_JITTER_SECONDS = 0.006
"""Standard deviation of the start of a stroke."""

LEVELS = {"drums": -18.0, "bass": -20.0, "chords": -20.0, "lead": -23.0, "vocals": -18.0}
"""Mean level of each bus in dB RMS relative to full scale; each track's mix varies around it."""

PEAK = 0.89
"""Peak amplitude of a track: -1 dBFS, usual in mastering."""


@dataclass(frozen=True)
class ArtistStyle:
    """Properties of an artist's sound, equal on all tracks of the artist."""

    cents: float
    """Deviation of the tuning, in cents."""
    pace: float
    """Factor of the tempo."""
    tilt: float
    """Added slope of the spectrum, in dB an octave."""
    tract: float
    """Scale of the singer's formants."""
    register: float
    """MIDI pitch of the singer's lowest note."""
    balance: dict[str, float]
    """Added level of each bus, in dB."""

    @staticmethod
    def draw(rng: np.random.Generator) -> "ArtistStyle":
        """Return a random style."""
        return ArtistStyle(
            cents=rng.normal(0, 12),
            pace=rng.normal(1, 0.03),
            tilt=rng.normal(0, 0.5),
            tract=rng.uniform(0.95, 1.2),
            register=rng.uniform(45, 60),
            balance={bus: rng.normal(0, 2) for bus in LEVELS},
        )


def synthesise_track(genres: LabelSet, sung: bool, style: ArtistStyle, rng: np.random.Generator) -> Waveform:
    """Return `SECONDS` of a track with the sound of `genres`, and with a voice if it is sung."""
    return _TrackSynthesiser(combine_recipes(genres, rng), style, rng).render(sung)


def combine_recipes(genres: LabelSet, rng: np.random.Generator) -> Recipe:
    """Return a recipe whose parts are taken from the recipes of `genres` in turn."""
    order = [str(slug) for slug in rng.permutation(genres)]
    parts = {}
    for index, part in enumerate(fields(Recipe)):
        source = str(rng.choice(SLUGS)) if rng.random() < GUEST_PROBABILITY else order[index % len(order)]
        parts[part.name] = getattr(RECIPES[source], part.name)
    return Recipe(**parts)


class _TrackSynthesiser:
    """Synthesises one track: draws the values that the recipe leaves open, then plays each bus."""

    def __init__(self, recipe: Recipe, style: ArtistStyle, rng: np.random.Generator) -> None:
        self._rng = rng
        self._style = style
        self._recipe = recipe
        self._step = 60 / (self._draw(recipe.beat.tempo) * style.pace) / 4
        self._swing = self._draw(recipe.beat.swing) * 2 * self._step
        self._bars = int(np.ceil(SECONDS / (16 * self._step)))
        self._scale = str(rng.choice(recipe.chords.scales))
        self._degrees = recipe.chords.progressions[rng.integers(len(recipe.chords.progressions))]
        self._shape = recipe.chords.shapes[rng.integers(len(recipe.chords.shapes))]
        self._key = int(self._draw(recipe.chords.key))

    def render(self, sung: bool) -> Waveform:
        """Return the mix of all buses, with effects, scaled to `PEAK`."""
        buses = {
            "drums": self._drums(),
            "bass": self._bass(),
            "chords": self._chords(),
            "lead": silence() if sung and self._rng.random() < 0.6 else self._lead(),
            "vocals": self._vocals() if sung else silence(),
        }
        mix = silence()
        for bus, sound in buses.items():
            mix += set_level(sound, LEVELS[bus] + self._style.balance[bus] + self._rng.normal(0, 2))
        production = self._recipe.production
        hiss = self._rng.standard_normal(SAMPLES, dtype=np.float32)
        mix += set_level(hiss, self._draw(production.hiss))
        mix = add_reverb(
            mix,
            self._rng,
            seconds=self._draw(production.room),
            wet=self._draw(production.wet),
            tilt=self._draw(production.tilt) + self._style.tilt,
            cutoff=self._draw(production.cutoff),
        )
        return mix * np.float32(PEAK / max(1e-6, float(np.abs(mix).max())))

    def _drums(self) -> Waveform:
        bus = silence()
        beat = self._recipe.beat
        pattern = beat.patterns[self._rng.integers(len(beat.patterns))]
        for name, rhythm in pattern.items():
            drum = beat.kit[name]
            tuned = replace(drum, hertz=drum.hertz * self._rng.uniform(0.85, 1.15))
            sound = tuned.render(self._rng) * np.float32(0.35 if name in ("hat", "ride") else 1)
            for bar in range(self._bars):
                for step, gain in self._strokes(rhythm):
                    add_at(bus, sound, self._sample(bar, step), gain)
        return bus

    def _bass(self) -> Waveform:
        bus = silence()
        bass = self._recipe.bass
        player = Player(bass.timbre, self._rng, self._style.cents)
        rhythm = str(self._rng.choice(bass.rhythms))
        held = self._mean_step_gap(rhythm)
        for bar in range(self._bars):
            degree = self._degree(bar)
            for count, (step, gain) in enumerate(self._strokes(rhythm)):
                up = bass.steps[count % len(bass.steps)]
                pitch = _fold_pitch(self._key + semitones(self._scale, degree - 1 + up), 31, 48)
                add_at(bus, player.note(pitch, held * self._step), self._sample(bar, step), gain)
        return bus

    def _chords(self) -> Waveform:
        bus = silence()
        chords = self._recipe.chords
        player = Player(chords.timbre, self._rng, self._style.cents)
        rhythm = str(self._rng.choice(chords.rhythms))
        for bar in range(self._bars):
            pitches = [self._key + above for above in chord(self._scale, self._degree(bar), self._shape)]
            for count, (step, gain) in enumerate(self._strokes(rhythm)):
                played = [pitches[count % len(pitches)]] if chords.broken else pitches
                start = self._sample(bar, step)
                for string, pitch in enumerate(played):
                    strum = round(0.008 * string * SAMPLE_RATE)
                    add_at(bus, player.note(pitch, chords.gate * self._step), start + strum, gain)
        return distort(bus, self._draw(chords.drive))

    def _lead(self) -> Waveform:
        bus = silence()
        lead = self._recipe.lead
        player = Player(lead.timbre, self._rng, self._style.cents)
        density = self._draw(lead.density)
        place = 4
        for bar in range(self._bars):
            for step in range(0, 16, 2):
                if self._rng.random() > density:
                    continue
                place = int(np.clip(place + self._rng.integers(-2, 3), 0, 9))
                pitch = self._key + semitones(self._scale, place) + 12 * lead.octave
                length = self._step * float(self._rng.choice((2, 2, 4)))
                add_at(bus, player.note(pitch, length), self._sample(bar, step), self._rng.uniform(0.6, 1))
        return distort(bus, self._draw(lead.drive))

    def _vocals(self) -> Waveform:
        bus = silence()
        vocals = self._recipe.vocals
        singer = Singer(vocals.delivery, self._rng, self._style.tract)
        density = self._draw(vocals.density)
        place = vocals.reach // 2
        for bar in range(self._bars):
            if bar % 4 == 3 and self._rng.random() < 0.5:
                continue
            starts = [step for step in range(16) if self._rng.random() < density]
            for step, following in zip(starts, [*starts, 16][1:], strict=True):
                place = int(np.clip(place + self._rng.integers(-2, 3), 0, vocals.reach))
                pitch = _fold_pitch(self._key, self._style.register, self._style.register + 12)
                pitch += semitones(self._scale, place)
                length = self._step * min(following - step, 8)
                sound = singer.syllable(str(self._rng.choice(list(VOWELS))), pitch, length)
                add_at(bus, sound, self._sample(bar, step), self._rng.uniform(0.6, 1))
        return bus

    def _draw(self, span: Span) -> float:
        return float(self._rng.uniform(*span))

    def _degree(self, bar: int) -> int:
        return self._degrees[bar % len(self._degrees)]

    def _strokes(self, rhythm: str) -> list[tuple[int, float]]:
        """Return the steps and gains of a bar's strokes. Strokes are left out or added at random."""
        strokes = []
        for step, mark in enumerate(rhythm):
            draw = self._rng.random()
            if mark == "x" and draw > 0.03:
                strokes.append((step, self._rng.uniform(0.8, 1)))
            elif mark == "o" or draw > 0.985:
                strokes.append((step, self._rng.uniform(0.25, 0.5)))
        return strokes

    def _mean_step_gap(self, rhythm: str) -> float:
        """Return the mean number of steps between strokes."""
        return 16 / max(1, sum(mark != "." for mark in rhythm))

    def _sample(self, bar: int, step: int) -> int:
        """Return the first sample of a step, with swing and random timing."""
        late = self._swing if step % 4 == 2 else self._swing / 2 if step % 2 else 0.0
        seconds = (16 * bar + step) * self._step + late + self._rng.normal(0, TIMING_JITTER_SECONDS)
        return round(max(0.0, seconds) * SAMPLE_RATE)


def _fold_pitch(pitch: float, low: float, high: float) -> float:
    """Return the pitch moved by octaves into [`low`, `high`), a range of at least an octave."""
    while pitch < low:
        pitch += 12
    while pitch >= high:
        pitch -= 12
    return pitch
