"""What a recipe of a genre's sound consists of.

A rhythm is a bar of sixteen steps: `x` a stroke, `o` a soft one, `.` none.
"""

from dataclasses import dataclass

from trainer.corpus.harmony import Progression
from trainer.corpus.instruments import Delivery, Drum, Timbre

Span = tuple[float, float]
"""Lowest and highest value; each track draws its own from between."""


@dataclass(frozen=True)
class Beat:
    """Pulse and drums."""

    tempo: Span
    """Quarter notes a minute."""
    patterns: tuple[dict[str, str], ...]
    """Rhythms by drum."""
    kit: dict[str, Drum]
    swing: Span = (0.0, 0.05)
    """Part of an eighth by which every second eighth comes late; a third is a shuffle."""


@dataclass(frozen=True)
class Bass:
    timbre: Timbre
    rhythms: tuple[str, ...]
    steps: tuple[int, ...]
    """Scale steps above the chord's root that it moves through, stroke by stroke."""


@dataclass(frozen=True)
class Chords:
    """The harmony and who plays it."""

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
    """One note of the chord after the other instead of all at once."""
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
    delivery: Delivery
    density: Span
    """Probability of a syllable on a sixteenth."""
    reach: int
    """Scale steps that the melody spans."""


@dataclass(frozen=True)
class Production:
    """Room and recording."""

    room: Span
    """Seconds of reverberation."""
    wet: Span
    tilt: Span
    """dB an octave."""
    cutoff: Span
    """Hz."""
    hiss: Span = (-70.0, -55.0)
    """dB relative to full scale."""


@dataclass(frozen=True)
class Recipe:
    beat: Beat
    chords: Chords
    bass: Bass
    lead: Lead
    vocals: Vocals
    production: Production
