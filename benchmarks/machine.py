"""Where a figure comes from: the command, and the machine that it was measured on."""

import platform
import re
import sys
from pathlib import Path

from media.cpus import available_cpus


def command() -> str:
    """As it was called, with names in the place of paths, which mean nothing elsewhere."""
    return " ".join([sys.argv[0], *(Path(one).name if "/" in one else one for one in sys.argv[1:])])


def processor() -> str:
    """The CPU's name, as Linux says."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return model[1] if model else platform.processor() or "an unknown processor"


def machine() -> str:
    """How many cores may be used, of what processor."""
    return f"{available_cpus()} cores of {processor()}, {platform.system()}"
