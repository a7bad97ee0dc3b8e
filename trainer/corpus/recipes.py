"""The recipe of each genre: one per row of the table in the package's docstring."""

from trainer.corpus import palette
from trainer.corpus.harmony import NINTH, OPEN, POWER, SEVENTH, TRIAD
from trainer.corpus.recipe import Bass, Beat, Chords, Lead, Production, Recipe, Vocals

_EVERY_STEP = "x" * 16
_EIGHTHS = "x." * 8
_QUARTERS = "x..." * 4
_WHOLE = "x" + "." * 15

ACOUSTIC = Recipe(
    Beat(
        (78, 126),
        (
            {"brush": "..o...x...o...x."},
            {"kick": "x.......x.......", "brush": "....x.......x..."},
            {},
        ),
        palette.ACOUSTIC_KIT,
    ),
    Chords(
        palette.STEEL_STRING,
        ("major", "mixolydian"),
        ((1, 4, 1, 5), (1, 5, 6, 4), (1, 4, 5, 1)),
        (TRIAD, OPEN),
        ("x...x.x...x.x.x.", _EIGHTHS, "x..ox.xox..ox.xo"),
        gate=3,
    ),
    Bass(palette.FINGERED_BASS, ("x.......x.......", "x.....x.x......."), (0, 4)),
    Lead(palette.FLUTE, (0.15, 0.35)),
    Vocals(palette.SUNG, (0.2, 0.32), 7),
    Production((0.3, 0.9), (0.1, 0.3), (-0.5, 1.0), (6_000, 9_500)),
)

BAND = Recipe(
    Beat(
        (104, 146),
        (
            {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": _EIGHTHS},
            {"kick": "x..x....x.......", "snare": "....x.......x..o", "hat": _QUARTERS},
        ),
        palette.ACOUSTIC_KIT,
    ),
    Chords(
        palette.ELECTRIC_GUITAR,
        ("major", "mixolydian", "minor"),
        ((1, 7, 4, 1), (1, 4, 5, 4), (6, 4, 1, 5)),
        (TRIAD, POWER),
        ("x..x..x.x..x..x.", "x...x.x.x...x.x."),
        gate=3,
        drive=(0.8, 2.5),
    ),
    Bass(palette.FINGERED_BASS, (_EIGHTHS, "x..x..x.x..x..x."), (0, 0, 0, 4)),
    Lead(palette.ELECTRIC_GUITAR, (0.2, 0.4), drive=(2.0, 4.0)),
    Vocals(palette.SUNG, (0.2, 0.35), 8),
    Production((0.3, 0.9), (0.1, 0.3), (-0.5, 1.0), (6_500, 10_000)),
)

HEAVY = Recipe(
    Beat(
        (150, 205),
        (
            {"kick": "x.x.x.x.x.x.x.x.", "snare": "....x.......x...", "hat": _QUARTERS},
            {"kick": "x...x...x...x...", "snare": "..x...x...x...x.", "hat": _EIGHTHS},
            {"kick": _EVERY_STEP, "snare": "....x.......x...", "hat": _QUARTERS},
        ),
        palette.HARD_KIT,
    ),
    Chords(
        palette.ELECTRIC_GUITAR,
        ("phrygian", "minor", "harmonic minor"),
        ((1, 1, 2, 1), (1, 6, 7, 1), (1, 2, 1, 7), (1, 4, 5, 4)),
        (POWER,),
        (_EIGHTHS, "x.xxx.xxx.xxx.xx", _EVERY_STEP),
        gate=1.2,
        key=(38, 46),
        drive=(4.0, 8.0),
    ),
    Bass(palette.SYNTH_BASS, (_EIGHTHS, _EVERY_STEP), (0,)),
    Lead(palette.ELECTRIC_GUITAR, (0.4, 0.8), octave=2, drive=(4.0, 8.0)),
    Vocals(palette.SHOUTED, (0.25, 0.45), 3),
    Production((0.2, 0.6), (0.05, 0.2), (0.0, 1.5), (7_000, 10_500)),
)

BREAKBEAT = Recipe(
    Beat(
        (84, 112),
        (
            {"kick": "x.....x...x.....", "snare": "....x..o....x...", "hat": _EIGHTHS},
            {"kick": "x.x.......xx....", "snare": "....x..o.o..x..o", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "x..x......x..x..", "snare": "....x.......x...", "hat": "x.xxx.xxx.xxx.xx"},
        ),
        palette.BREAK_KIT,
        swing=(0.05, 0.2),
    ),
    Chords(
        palette.MUTED_GUITAR,
        ("dorian", "mixolydian"),
        ((1, 1, 1, 1), (1, 1, 4, 4), (2, 2, 1, 1)),
        (NINTH, SEVENTH),
        ("..x..x.x..x..x.x", "x..x..x...x.x..x"),
        gate=1,
        key=(55, 64),
    ),
    Bass(palette.SYNTH_BASS, ("x..x..x...x..x..", "x.x...x..x.x...."), (0, 0, 7, 6, 4)),
    Lead(palette.BRASS, (0.15, 0.3)),
    Vocals(palette.RAPPED, (0.55, 0.8), 3),
    Production((0.2, 0.6), (0.05, 0.2), (-1.5, 0.0), (5_000, 9_000), hiss=(-55, -42)),
)

SEQUENCER = Recipe(
    Beat(
        (126, 142),
        (
            {"kick": _QUARTERS, "hat": "..x...x...x...x."},
            {"kick": _QUARTERS, "hat": _EVERY_STEP, "snare": "............x..."},
        ),
        palette.MACHINE_KIT,
        swing=(0.0, 0.0),
    ),
    Chords(
        palette.ACID,
        ("phrygian", "minor"),
        ((1, 1, 1, 1), (1, 1, 1, 2)),
        (TRIAD, SEVENTH),
        (_EVERY_STEP, "x.xxx.xxx.xx.xxx"),
        gate=0.9,
        key=(43, 50),
        broken=True,
        drive=(0.5, 2.5),
    ),
    Bass(palette.SYNTH_BASS, ("..x...x...x...x.", "..xx..xx..xx..xx"), (0,)),
    Lead(palette.SQUARE, (0.05, 0.2)),
    Vocals(palette.BREATHY, (0.08, 0.15), 2),
    Production((0.8, 2.0), (0.15, 0.4), (-1.0, 0.5), (5_000, 10_000)),
)

DISCO = Recipe(
    Beat(
        (116, 130),
        (
            {"kick": _QUARTERS, "snare": "....x.......x...", "hat": "..x...x...x...x."},
            {"kick": _QUARTERS, "snare": "....x.......x..o", "hat": "oxxooxxooxxooxxo"},
        ),
        palette.MACHINE_KIT,
        swing=(0.02, 0.12),
    ),
    Chords(
        palette.ELECTRIC_PIANO,
        ("minor", "dorian"),
        ((1, 4, 1, 4), (1, 6, 4, 5), (2, 5, 1, 1)),
        (NINTH, SEVENTH),
        ("x..x..x...x..x..", "..x..x....x..x.."),
        gate=2,
        key=(55, 64),
    ),
    Bass(palette.SYNTH_BASS, ("..x...x...x...x.", "x.x.x.x.x.x.x.x."), (0, 7)),
    Lead(palette.PIANO, (0.15, 0.35)),
    Vocals(palette.SUNG, (0.12, 0.25), 6),
    Production((0.4, 1.2), (0.1, 0.3), (-0.5, 1.0), (6_000, 10_000)),
)

SYNTHESISER = Recipe(
    Beat(
        (92, 128),
        (
            {"kick": "x.......x.......", "snare": "....x.......x...", "hat": _EIGHTHS},
            {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": _EVERY_STEP},
            {"kick": _QUARTERS, "snare": "....x.......x...", "hat": _EIGHTHS},
        ),
        palette.MACHINE_KIT,
    ),
    Chords(
        palette.SAW,
        ("major", "minor", "lydian"),
        ((6, 4, 1, 5), (1, 5, 6, 4), (4, 5, 6, 1)),
        (TRIAD, OPEN),
        (_EIGHTHS, "x..x..x.x..x..x.", _EVERY_STEP),
        gate=1.5,
        broken=True,
    ),
    Bass(palette.SYNTH_BASS, (_EIGHTHS, "x..x..x.x..x..x."), (0, 0, 7)),
    Lead(palette.SQUARE, (0.25, 0.5)),
    Vocals(palette.BREATHY, (0.25, 0.4), 7),
    Production((0.5, 1.5), (0.15, 0.35), (0.0, 1.5), (7_000, 10_500)),
)

COMBO = Recipe(
    Beat(
        (100, 190),
        (
            {"ride": "x...x.x.x...x.x.", "hat": "....x.......x...", "kick": "o.......o......."},
            {"ride": "x...x.x.x...x.x.", "brush": "o...x...o...x...", "snare": "......o........o"},
        ),
        palette.ACOUSTIC_KIT,
        swing=(0.25, 0.36),
    ),
    Chords(
        palette.PIANO,
        ("major", "dorian", "minor"),
        ((2, 5, 1, 6), (3, 6, 2, 5), (1, 6, 2, 5)),
        (NINTH, SEVENTH),
        ("x.....x.........", "..x.......x.....", "x...........x..."),
        gate=3,
        key=(53, 62),
    ),
    Bass(palette.SOFT_BASS, (_QUARTERS,), (0, 2, 4, 5)),
    Lead(palette.SAX, (0.45, 0.75)),
    Vocals(palette.CROONED, (0.15, 0.28), 8),
    Production((0.4, 1.0), (0.1, 0.3), (-1.5, 0.0), (4_500, 8_000), hiss=(-60, -48)),
)

SHUFFLE = Recipe(
    Beat(
        (66, 118),
        (
            {"kick": "x.......x.....x.", "snare": "....x.......x...", "ride": _EIGHTHS},
            {"kick": "x.....x.x.....x.", "snare": "....x.......x...", "hat": _EIGHTHS},
        ),
        palette.ACOUSTIC_KIT,
        swing=(0.28, 0.36),
    ),
    Chords(
        palette.ELECTRIC_GUITAR,
        ("mixolydian", "dorian"),
        ((1, 4, 1, 1), (4, 4, 1, 1), (5, 4, 1, 5)),
        (SEVENTH, POWER),
        (_EIGHTHS, "x.x.x.x.x.x...x."),
        gate=1.6,
        key=(45, 54),
        drive=(0.3, 1.2),
    ),
    Bass(palette.FINGERED_BASS, (_QUARTERS, "x.....x.x.....x."), (0, 2, 4, 6)),
    Lead(palette.HARMONICA, (0.3, 0.55)),
    Vocals(palette.CROONED, (0.15, 0.28), 5),
    Production((0.3, 0.8), (0.1, 0.25), (-1.5, 0.0), (4_500, 8_000), hiss=(-58, -45)),
)

OFFBEAT = Recipe(
    Beat(
        (66, 92),
        (
            {"kick": "........x.......", "snare": "........x.......", "hat": "x.xxx.xxx.xxx.xx"},
            {"kick": "x...x...x...x...", "snare": "........x.......", "hat": _EIGHTHS},
        ),
        palette.BREAK_KIT,
        swing=(0.05, 0.2),
    ),
    Chords(
        palette.ORGAN,
        ("major", "minor", "mixolydian"),
        ((1, 4, 1, 4), (1, 2, 1, 2), (1, 5, 6, 4)),
        (TRIAD,),
        ("....x.......x...", "....x.o.....x.o."),
        gate=1.2,
        key=(55, 64),
    ),
    Bass(palette.SOFT_BASS, ("x..x..x...x.....", "......x.x..x..x."), (0, 4, 2, 0)),
    Lead(palette.BRASS, (0.1, 0.25)),
    Vocals(palette.SUNG, (0.2, 0.32), 4),
    Production((0.8, 2.0), (0.15, 0.4), (-2.0, -0.5), (4_500, 8_000)),
)

ORCHESTRA = Recipe(
    Beat((62, 130), ({},), palette.ACOUSTIC_KIT),
    Chords(
        palette.STRINGS,
        ("major", "harmonic minor", "minor"),
        ((1, 4, 5, 1), (1, 6, 4, 5), (1, 5, 1, 4)),
        (TRIAD, OPEN),
        (_WHOLE, "x.......x.......", _QUARTERS),
        gate=8,
        key=(48, 59),
    ),
    Bass(palette.STRINGS, (_WHOLE, "x.......x......."), (0,)),
    Lead(palette.PIANO, (0.5, 0.9)),
    Vocals(palette.CHORAL, (0.1, 0.2), 7),
    Production((1.2, 2.8), (0.3, 0.6), (-1.0, 0.5), (6_000, 9_500)),
)

DRONE = Recipe(
    Beat((56, 84), ({}, {"kick": "o..............."}), palette.MACHINE_KIT),
    Chords(
        palette.PAD,
        ("lydian", "major", "dorian"),
        ((1, 1, 4, 4), (1, 2, 1, 2), (1, 1, 1, 1)),
        (NINTH, OPEN),
        (_WHOLE,),
        gate=17,
        key=(45, 57),
    ),
    Bass(palette.PAD, (_WHOLE,), (0,)),
    Lead(palette.BELL, (0.05, 0.25), octave=2),
    Vocals(palette.CHORAL, (0.05, 0.12), 5),
    Production((2.0, 4.0), (0.5, 0.9), (-2.0, 0.0), (4_000, 8_000), hiss=(-55, -40)),
)

RECIPES = {
    "electronic": SYNTHESISER,
    "ambient": DRONE,
    "techno": SEQUENCER,
    "house": DISCO,
    "pop": SYNTHESISER,
    "rock": BAND,
    "metal": HEAVY,
    "punk-rock": HEAVY,
    "hip-hop": BREAKBEAT,
    "jazz": COMBO,
    "blues": SHUFFLE,
    "funk": BREAKBEAT,
    "reggae": OFFBEAT,
    "classical": ORCHESTRA,
    "folk": ACOUSTIC,
    "country": ACOUSTIC,
}
