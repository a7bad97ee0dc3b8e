"""The machine that a figure was measured on."""

import platform
import re
from pathlib import Path

from worker.session import available_cpus


def processor() -> str:
    """The CPU's name, as Linux says."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return model[1] if model else platform.processor() or "an unknown processor"


def machine() -> str:
    """How many cores may be used, of what processor."""
    return f"{available_cpus()} cores of {processor()}, {platform.system()}"
