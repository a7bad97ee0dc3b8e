"""Pitched instruments and voices, played from wavetables of one period.

As on a struck string, the high harmonics of a note decay first: a note fades from a bright table into a dull
one under its envelope. The tables contain only harmonics below the Nyquist frequency, which avoids aliasing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.corpus.signal import SAMPLE_RATE, Waveform, band_pass, frequency, times

TABLE = 1024
"""Samples of a wavetable."""
MAX_HARMONICS = 48
VIBRATO_HERTZ = 5.5

VOWELS = {
    "a": (730.0, 1090.0, 2440.0),
    "e": (530.0, 1840.0, 2480.0),
    "i": (270.0, 2290.0, 3010.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
}
"""Frequencies of the first three formants, in Hz."""

FORMANT_WIDTH = 110.0
"""Half-width of a formant, in Hz."""


@dataclass(frozen=True)
class Timbre:
    """The sound of an instrument. Times are in seconds."""

    rolloff: float
    """Harmonic k starts with amplitude k ** -rolloff."""
    dulling: float = 1.0
    """Added to the rolloff at the end of the fade to the dull table."""
    even: float = 1.0
    """Amplitude of even harmonics relative to odd ones; near 0 the sound is hollow."""
    attack: float = 0.005
    """Time from silence to full level."""
    decay: float = 1.0
    """Time constant of the loudness; `SUSTAINED` for instruments that hold a note."""
    dull_after: float = 0.3
    """Time constant of the brightness."""
    vibrato: float = 0.0
    """Depth in cents, at `VIBRATO_HERTZ`."""
    chorus: float = 0.0
    """Detuning of a second voice in cents."""
    breath: float = 0.0
    """Level of noise around the pitch."""


SUSTAINED = 60.0
"""Value of `Timbre.decay` without an audible decay within a track, in seconds."""


class Player:
    """Plays one instrument in one track. Equal notes are computed once."""

    def __init__(self, timbre: Timbre, rng: np.random.Generator, cents: float = 0.0) -> None:
        self._timbre = timbre
        self._rng = rng
        self._cents = cents
        self._notes: dict[tuple[float, int], Waveform] = {}

    def note(self, pitch: float, seconds: float) -> Waveform:
        """Return a note of a MIDI pitch that is held for `seconds` and then released."""
        samples = round(seconds * SAMPLE_RATE)
        key = (pitch, samples)
        if key not in self._notes:
            self._notes[key] = self._render_note(pitch + self._cents / 100, samples)
        return self._notes[key]

    def _render_note(self, pitch: float, samples: int) -> Waveform:
        timbre = self._timbre
        hertz = frequency(pitch)
        time = times(samples)
        bright, dull = (
            _table(_harmonics(hertz, timbre.rolloff + more, timbre.even)) for more in (0.0, timbre.dulling)
        )
        fade = np.exp(-time / np.float32(timbre.dull_after))
        phase = hertz * (time + _vibrato(time, timbre.vibrato))
        sound: Waveform = fade * _interpolate(bright, phase) + (1 - fade) * _interpolate(dull, phase)
        if timbre.chorus:
            sound += _interpolate(dull, phase * np.float32(2 ** (timbre.chorus / 1200)))
        if timbre.breath:
            noise = self._rng.standard_normal(samples, dtype=np.float32)
            sound += np.float32(timbre.breath) * band_pass(noise, hertz, 4 * hertz)
        sound *= _envelope(time, timbre.attack, timbre.decay)
        return sound


@dataclass(frozen=True)
class Delivery:
    """The sound of a voice's syllables."""

    glide: float
    """Semitones by which the pitch falls within a syllable, as in speech."""
    rasp: float
    """Level of noise in the voice; high in a shout or a growl."""
    vibrato: float
    """Depth in cents."""
    effort: float
    """Rolloff of the glottis's harmonics: about 0.5 for a shout, about 2 for a murmur."""


class Singer:
    """One voice in one track, singing vowels. Equal syllables are computed once."""

    def __init__(self, delivery: Delivery, rng: np.random.Generator, tract: float) -> None:
        """`tract` scales the formants: 1 is an average man, 1.2 a child."""
        self._delivery = delivery
        self._rng = rng
        self._tract = tract
        self._syllables: dict[tuple[str, float, int], Waveform] = {}

    def syllable(self, vowel: str, pitch: float, seconds: float) -> Waveform:
        """Return a syllable with a vowel of `VOWELS`, at a MIDI pitch."""
        samples = round(seconds * SAMPLE_RATE)
        key = (vowel, pitch, samples)
        if key not in self._syllables:
            self._syllables[key] = self._render_syllable(vowel, pitch, samples)
        return self._syllables[key]

    def _render_syllable(self, vowel: str, pitch: float, samples: int) -> Waveform:
        delivery = self._delivery
        hertz = frequency(pitch)
        time = times(samples)
        formants = np.array(VOWELS[vowel])[:, None] * self._tract
        harmonics = _harmonics(hertz, delivery.effort, 1.0)
        at = hertz * np.arange(1, len(harmonics) + 1)
        resonance = (1 / (1 + ((at - formants) / FORMANT_WIDTH) ** 2)).sum(axis=0) + 0.02
        fall = np.float32(2 ** (-delivery.glide / 12) - 1) * time / (2 * time[-1] + 1e-3)
        phase = hertz * (time * (1 + fall) + _vibrato(time, delivery.vibrato))
        voice = _interpolate(_table(harmonics * resonance), phase)
        noise = self._rng.standard_normal(samples, dtype=np.float32)
        rasp = band_pass(noise, float(formants[0, 0]), float(formants[2, 0]))
        consonant = band_pass(noise, 3_000.0, 9_000.0) * np.exp(-time / np.float32(0.02))
        voice = voice * (1 + np.float32(delivery.rasp) * rasp) + np.float32(0.3 * delivery.rasp) * rasp
        syllable: Waveform = (voice + np.float32(0.4) * consonant) * _envelope(time, 0.02, SUSTAINED)
        return syllable


@dataclass(frozen=True)
class Drum:
    """A drum sound: a decaying sine (the skin), a burst of noise, or both. Times are in seconds."""

    hertz: float = 0.0
    """Frequency of the skin; 0 for a drum of noise only."""
    drop: float = 0.0
    """Fall of the skin's frequency after the stroke: it starts at `hertz` · (1 + `drop`)."""
    ring: float = 0.1
    """Time constant of the skin."""
    noise: float = 0.0
    """Level of the noise relative to the skin."""
    rattle: float = 0.1
    """Time constant of the noise."""
    band: tuple[float, float] = (200.0, 8_000.0)
    """Lowest and highest frequency of the noise, in Hz."""

    @cached_property
    def samples(self) -> int:
        """Length of the sound: five time constants."""
        return round(5 * max(self.ring if self.hertz else 0, self.rattle if self.noise else 0) * SAMPLE_RATE)

    def render(self, rng: np.random.Generator) -> Waveform:
        """Return the sound of one stroke, with a peak of 1."""
        time = times(self.samples)
        sound = np.zeros_like(time)
        if self.hertz:
            fall = np.float32(self.drop * 0.02) * (1 - np.exp(-time / np.float32(0.02)))
            phase = np.float32(2 * np.pi * self.hertz) * (time + fall)
            sound += np.sin(phase) * np.exp(-time / np.float32(self.ring))
        if self.noise:
            hiss = band_pass(rng.standard_normal(self.samples, dtype=np.float32), *self.band)
            sound += np.float32(self.noise) * hiss * np.exp(-time / np.float32(self.rattle))
        return sound / max(1e-6, float(np.abs(sound).max()))


def _harmonics(hertz: float, rolloff: float, even: float) -> Waveform:
    """Return the amplitudes of the harmonics of `hertz`, up to 0.45 of the sample rate."""
    count = max(1, min(MAX_HARMONICS, int(0.45 * SAMPLE_RATE / hertz)))
    amplitudes = np.arange(1, count + 1, dtype=np.float32) ** np.float32(-rolloff)
    amplitudes[1::2] *= np.float32(even)
    return amplitudes


def _table(harmonics: Waveform) -> Waveform:
    """Return one period, (TABLE + 1,), with an RMS of 1. The last sample repeats the first."""
    spectrum = np.zeros(TABLE // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(harmonics) + 1] = -1j * harmonics
    period = np.fft.irfft(spectrum).astype(np.float32)
    period /= np.sqrt(np.mean(np.square(period)))
    return np.append(period, period[0])


def _interpolate(table: Waveform, periods: Waveform) -> Waveform:
    """Return the table's values at phases in periods, (samples,), linearly interpolated."""
    position = (periods % 1) * np.float32(TABLE)
    below = position.astype(np.int32)
    part = position - below
    return table[below] * (1 - part) + table[np.minimum(below + 1, TABLE)] * part


def _vibrato(time: Waveform, cents: float) -> Waveform:
    """Return the time shift in seconds that makes the pitch vary by `cents`."""
    depth = (2 ** (cents / 1200) - 1) / (2 * np.pi * VIBRATO_HERTZ)
    swing: Waveform = np.float32(depth) * np.sin(np.float32(2 * np.pi * VIBRATO_HERTZ) * time)
    return swing


def _envelope(time: Waveform, attack: float, decay: float) -> Waveform:
    """Return the envelope: a rise to 1 in `attack` seconds, an exponential decay, a release of 30 ms."""
    rise = np.minimum(1, time / np.float32(attack))
    release = np.minimum(1, time[::-1] / np.float32(0.03))
    envelope: Waveform = rise * release * np.exp(-time / np.float32(decay))
    return envelope
