"""Signal processing for all sounds of the corpus: sample rate, levels, mixing, filters, effects."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
"""(samples,), mono, at `SAMPLE_RATE`, full scale = ±1."""

SAMPLE_RATE = 22_050
SECONDS = 12.0
SAMPLES = round(SECONDS * SAMPLE_RATE)

TILT_PIVOT = 1_000.0
"""Frequency in Hz whose level a tilt does not change."""


def silence(samples: int = SAMPLES) -> Waveform:
    """Return a waveform of zeros."""
    return np.zeros(samples, dtype=np.float32)


def times(samples: int) -> Waveform:
    """Return the time of each of `samples` samples, in seconds from the first."""
    return np.arange(samples, dtype=np.float32) / np.float32(SAMPLE_RATE)


def frequency(pitch: float) -> float:
    """Return the frequency of a MIDI pitch in Hz (69 = A4 = 440 Hz)."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def add_at(bus: Waveform, sound: Waveform, start: int, gain: float) -> None:
    """Mix `sound` into `bus` from sample `start` on. Samples after the end of the bus are dropped."""
    end = min(start + len(sound), len(bus))
    if 0 <= start < end:
        bus[start:end] += np.float32(gain) * sound[: end - start]


def set_level(bus: Waveform, decibels: float) -> Waveform:
    """Return `bus` scaled to an RMS of `decibels` relative to full scale. Silence is not scaled."""
    rms = float(np.sqrt(np.mean(np.square(bus))))
    return bus * np.float32(10 ** (decibels / 20) / rms) if rms > 1e-6 else bus


def distort(bus: Waveform, drive: float) -> Waveform:
    """Return `bus` distort by tanh. A drive of 0 is clean, 10 clips hard."""
    if drive <= 0:
        return bus
    shaped: Waveform = np.tanh(set_level(bus, -12.0) * np.float32(1 + 4 * drive))
    return shaped


def band_pass(noise: Waveform, low: float, high: float) -> Waveform:
    """Return `noise` band-passed between `low` and `high` Hz, with slopes of 12 dB an octave."""
    padded = _fast_length(len(noise), 512)
    hertz = np.fft.rfftfreq(padded, 1 / SAMPLE_RATE).astype(np.float32) + 1
    gain = 1 / (1 + (low / hertz) ** 2) / (1 + (hertz / high) ** 2)
    return np.fft.irfft(np.fft.rfft(noise, padded) * gain, padded)[: len(noise)].astype(np.float32)


def add_reverb(
    mix: Waveform, rng: np.random.Generator, seconds: float, wet: float, tilt: float, cutoff: float
) -> Waveform:
    """Return the mix with reverberation and equalisation, applied as a single filter.

    `seconds` is the time in which the reverberation falls by 60 dB, `wet` its level relative to the direct
    sound. `tilt` is the slope of the spectrum in dB an octave around `TILT_PIVOT`. Above `cutoff` Hz the
    level falls by 12 dB an octave.
    """
    tail = max(1, round(seconds * SAMPLE_RATE))
    response = rng.standard_normal(tail, dtype=np.float32) * np.exp(-6.9 * times(tail) / np.float32(seconds))
    response *= np.float32(wet) / np.sqrt(np.sum(np.square(response)))
    response[0] += 1
    padded = _fast_length(len(mix) + tail, 16_384)
    hertz = np.fft.rfftfreq(padded, 1 / SAMPLE_RATE).astype(np.float32) + 20
    gain = (hertz / TILT_PIVOT) ** (tilt / 6.02) / (1 + (hertz / cutoff) ** 2)
    spectrum = np.fft.rfft(mix, padded) * np.fft.rfft(response, padded) * gain
    return np.fft.irfft(spectrum, padded)[: len(mix)].astype(np.float32)


def _fast_length(samples: int, power: int) -> int:
    """Return the next multiple of `power`, a power of two, which makes the Fourier transform fast."""
    return -(-samples // power) * power
