"""Which windows of a track the model hears."""

import math

from schemas.bundle import AudioInput


def window_starts(seconds: float, audio: AudioInput) -> list[float]:
    """Start times in seconds of the windows of a track that lasts `seconds`.

    The track is divided into equal parts, and a window lies around the centre of each, so that a
    single window is the middle of the track. A track shorter than all windows together gets only
    as many as it takes to hear it whole; one that is shorter than a window gets one, from its start.
    """
    count = max(1, min(audio.windows, math.ceil(seconds / audio.window_seconds)))
    latest = max(0.0, seconds - audio.window_seconds)
    centres = ((part + 0.5) * seconds / count for part in range(count))
    return [min(max(0.0, centre - audio.window_seconds / 2), latest) for centre in centres]
