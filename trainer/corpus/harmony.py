"""Scales, chord progressions and chords, in semitones above a key note."""

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
}

Progression = tuple[int, ...]
"""Degree of the scale that is the root of each bar's chord; 1 is the key note."""

POWER = (0, 4)
TRIAD = (0, 2, 4)
SEVENTH = (0, 2, 4, 6)
NINTH = (0, 2, 4, 6, 8)
OPEN = (0, 4, 9)
"""Notes of a chord, as steps of the scale above its root."""


def semitones(scale: str, step: int) -> int:
    """Return the semitones of a step of the scale above the key note, which is step 0."""
    octave, degree = divmod(step, 7)
    return SCALES[scale][degree] + 12 * octave


def chord(scale: str, degree: int, shape: tuple[int, ...]) -> list[int]:
    """Return the notes of a chord on a degree of the scale, in semitones above the key note."""
    return [semitones(scale, degree - 1 + step) for step in shape]
