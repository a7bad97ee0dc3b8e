"""The processes of a run that was killed: they go with the one that they work for."""

import os
import time

SECONDS = 60


def wait_for_group(group: int) -> None:
    """Until no process of the group is left."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise TimeoutError(f"processes of group {group} are left")
