"""Pitched instruments and voices, played from wavetables of one period.

A struck string is bright first and dull later, so a note fades from a bright table into a dull one under its
envelope. The tables are summed from harmonics that stay below the Nyquist frequency, so nothing aliases.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.corpus.signal import SAMPLE_RATE, Waveform, filtered, frequency, times

TABLE = 1024
MAX_HARMONICS = 48
VIBRATO_HERTZ = 5.5

VOWELS = {
    "a": (730.0, 1090.0, 2440.0),
    "e": (530.0, 1840.0, 2480.0),
    "i": (270.0, 2290.0, 3010.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
}
"""Hz of the first three formants."""

FORMANT_WIDTH = 110.0
"""Hz."""


@dataclass(frozen=True)
class Timbre:
    """The sound of an instrument. Times are in seconds."""

    rolloff: float
    """Harmonic k starts with amplitude k ** -rolloff."""
    dulling: float = 1.0
    """Added to the rolloff once the note has dulled."""
    even: float = 1.0
    """Strength of the even harmonics against the odd ones: near 0 it sounds hollow."""
    attack: float = 0.005
    decay: float = 1.0
    """Time constant of the loudness; `SUSTAINED` holds."""
    dull_after: float = 0.3
    """Time constant of the brightness."""
    vibrato: float = 0.0
    """Depth in cents, at `VIBRATO_HERTZ`."""
    chorus: float = 0.0
    """Detuning of a second voice in cents."""
    breath: float = 0.0
    """Level of noise around the pitch."""


SUSTAINED = 60.0


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
            self._notes[key] = self._played(pitch + self._cents / 100, samples)
        return self._notes[key]

    def _played(self, pitch: float, samples: int) -> Waveform:
        timbre = self._timbre
        hertz = frequency(pitch)
        time = times(samples)
        bright, dull = (
            _table(_harmonics(hertz, timbre.rolloff + more, timbre.even)) for more in (0.0, timbre.dulling)
        )
        fade = np.exp(-time / np.float32(timbre.dull_after))
        phase = hertz * (time + _vibrato(time, timbre.vibrato))
        sound: Waveform = fade * _looked_up(bright, phase) + (1 - fade) * _looked_up(dull, phase)
        if timbre.chorus:
            sound += _looked_up(dull, phase * np.float32(2 ** (timbre.chorus / 1200)))
        if timbre.breath:
            noise = self._rng.standard_normal(samples, dtype=np.float32)
            sound += np.float32(timbre.breath) * filtered(noise, hertz, 4 * hertz)
        sound *= _envelope(time, timbre.attack, timbre.decay)
        return sound


@dataclass(frozen=True)
class Delivery:
    """The sound of a voice's syllables."""

    glide: float
    """Semitones by which the pitch falls within a syllable, as in speech."""
    rasp: float
    """Level of noise in the voice: a shout or a growl has much."""
    vibrato: float
    """Depth in cents."""
    effort: float
    """Rolloff of the glottis: a shout, near 0.5, has more high harmonics than a murmur, near 2."""


class Singer:
    """One voice in one track, singing vowels. Equal syllables are computed once."""

    def __init__(self, delivery: Delivery, rng: np.random.Generator, tract: float) -> None:
        """`tract` scales the formants: 1 is an average man, 1.2 a child."""
        self._delivery = delivery
        self._rng = rng
        self._tract = tract
        self._syllables: dict[tuple[str, float, int], Waveform] = {}

    def syllable(self, vowel: str, pitch: float, seconds: float) -> Waveform:
        samples = round(seconds * SAMPLE_RATE)
        key = (vowel, pitch, samples)
        if key not in self._syllables:
            self._syllables[key] = self._sung(vowel, pitch, samples)
        return self._syllables[key]

    def _sung(self, vowel: str, pitch: float, samples: int) -> Waveform:
        delivery = self._delivery
        hertz = frequency(pitch)
        time = times(samples)
        formants = np.array(VOWELS[vowel])[:, None] * self._tract
        harmonics = _harmonics(hertz, delivery.effort, 1.0)
        at = hertz * np.arange(1, len(harmonics) + 1)
        resonance = (1 / (1 + ((at - formants) / FORMANT_WIDTH) ** 2)).sum(axis=0) + 0.02
        fall = np.float32(2 ** (-delivery.glide / 12) - 1) * time / (2 * time[-1] + 1e-3)
        phase = hertz * (time * (1 + fall) + _vibrato(time, delivery.vibrato))
        voice = _looked_up(_table(harmonics * resonance), phase)
        noise = self._rng.standard_normal(samples, dtype=np.float32)
        rasp = filtered(noise, float(formants[0, 0]), float(formants[2, 0]))
        consonant = filtered(noise, 3_000.0, 9_000.0) * np.exp(-time / np.float32(0.02))
        voice = voice * (1 + np.float32(delivery.rasp) * rasp) + np.float32(0.3 * delivery.rasp) * rasp
        syllable: Waveform = (voice + np.float32(0.4) * consonant) * _envelope(time, 0.02, SUSTAINED)
        return syllable


@dataclass(frozen=True)
class Drum:
    """A struck skin, a rattle of noise, or both. Times in seconds."""

    hertz: float = 0.0
    """Pitch of the skin; 0 = none."""
    drop: float = 0.0
    """The skin starts this many times higher."""
    ring: float = 0.1
    """Time constant of the skin."""
    noise: float = 0.0
    """Level of the noise against the skin."""
    rattle: float = 0.1
    """Time constant of the noise."""
    band: tuple[float, float] = (200.0, 8_000.0)
    """Hz that the noise spans."""

    @cached_property
    def samples(self) -> int:
        return round(5 * max(self.ring if self.hertz else 0, self.rattle if self.noise else 0) * SAMPLE_RATE)

    def struck(self, rng: np.random.Generator) -> Waveform:
        time = times(self.samples)
        sound = np.zeros_like(time)
        if self.hertz:
            fall = np.float32(self.drop * 0.02) * (1 - np.exp(-time / np.float32(0.02)))
            phase = np.float32(2 * np.pi * self.hertz) * (time + fall)
            sound += np.sin(phase) * np.exp(-time / np.float32(self.ring))
        if self.noise:
            hiss = filtered(rng.standard_normal(self.samples, dtype=np.float32), *self.band)
            sound += np.float32(self.noise) * hiss * np.exp(-time / np.float32(self.rattle))
        return sound / max(1e-6, float(np.abs(sound).max()))


def _harmonics(hertz: float, rolloff: float, even: float) -> Waveform:
    """Amplitudes of the harmonics from the first on, all below 0.45 of the sample rate."""
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


def _looked_up(table: Waveform, periods: Waveform) -> Waveform:
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
    """From 0 to 1 within `attack` seconds, then an exponential decay, and a release in the last 30 ms."""
    rise = np.minimum(1, time / np.float32(attack))
    release = np.minimum(1, time[::-1] / np.float32(0.03))
    envelope: Waveform = rise * release * np.exp(-time / np.float32(decay))
    return envelope
