"""What a file may do to the process that decodes it. In a module of its own: the process imports it."""

import os
import signal
import time

import numpy as np

from media.decode import Waveform
from trainer.decoders import MEMORY_BYTES


def crash(*_: object) -> Waveform:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def hang(*_: object) -> Waveform:
    while True:
        time.sleep(1)


def bloat(*_: object) -> Waveform:
    return np.ones(MEMORY_BYTES, np.float32)
