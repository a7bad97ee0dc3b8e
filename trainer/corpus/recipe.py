"""The parts of a recipe, which defines a genre's sound.

A rhythm is a bar of sixteen steps: `x` a stroke, `o` a soft one, `.` none.
"""

from dataclasses import dataclass

from trainer.corpus.harmony import Progression
from trainer.corpus.instruments import Delivery, Drum, Timbre

Span = tuple[float, float]
"""Minimum and maximum; each track draws its value uniformly in between."""


@dataclass(frozen=True)
class Beat:
    """Tempo and drums."""

    tempo: Span
    """Quarter notes a minute."""
    patterns: tuple[dict[str, str], ...]
    """Rhythms by drum."""
    kit: dict[str, Drum]
    swing: Span = (0.0, 0.05)
    """Delay of every second eighth, as a fraction of an eighth; a third is a shuffle."""


@dataclass(frozen=True)
class Bass:
    """The bass line and its instrument."""

    timbre: Timbre
    rhythms: tuple[str, ...]
    steps: tuple[int, ...]
    """Scale steps above the chord's root, one per stroke, repeated."""


@dataclass(frozen=True)
class Chords:
    """The harmony and its instrument."""

    timbre: Timbre
    scales: tuple[str, ...]
    progressions: tuple[Progression, ...]
    shapes: tuple[tuple[int, ...], ...]
    rhythms: tuple[str, ...]
    gate: float
    """Steps for which a chord is held."""
    key: Span = (50, 61)
    """MIDI pitch of the key note."""
    broken: bool = False
    """Whether the notes of a chord are played one after the other."""
    drive: Span = (0.0, 0.0)


@dataclass(frozen=True)
class Lead:
    """The melody instrument."""

    timbre: Timbre
    density: Span
    """Probability of a note on an eighth."""
    octave: int = 1
    drive: Span = (0.0, 0.0)


@dataclass(frozen=True)
class Vocals:
    """The melody of the voice."""

    delivery: Delivery
    density: Span
    """Probability of a syllable on a sixteenth."""
    reach: int
    """Scale steps that the melody spans."""


@dataclass(frozen=True)
class Production:
    """Reverberation and sound of the recording."""

    room: Span
    """Length of the reverberation, in seconds."""
    wet: Span
    """Level of the reverberation relative to the direct sound."""
    tilt: Span
    """Slope of the spectrum, in dB an octave."""
    cutoff: Span
    """Frequency in Hz above which the level falls."""
    hiss: Span = (-70.0, -55.0)
    """Level of the noise, in dB relative to full scale."""


@dataclass(frozen=True)
class Recipe:
    """The sound of a genre."""

    beat: Beat
    chords: Chords
    bass: Bass
    lead: Lead
    vocals: Vocals
    production: Production
