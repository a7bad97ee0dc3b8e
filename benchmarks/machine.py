"""The command and the machine of a measurement, for the pages of results."""

import platform
import re
import sys
from pathlib import Path

from media.cpus import available_cpus


def command() -> str:
    """Return the command line, with file names instead of paths, which differ between machines."""
    return " ".join([sys.argv[0], *(Path(part).name if "/" in part else part for part in sys.argv[1:])])


def processor() -> str:
    """Return the model name of the CPU, from /proc/cpuinfo."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return model[1] if model else platform.processor() or "an unknown processor"


def machine() -> str:
    """Return the number of usable cores, the processor and the operating system."""
    return f"{available_cpus()} cores of {processor()}, {platform.system()}"
