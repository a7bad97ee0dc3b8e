"""The session keeps what it runs to itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEMO_BUNDLE, ROOT

SCRIPT = """
import sys
from pathlib import Path
from worker.session import open_session
open_session(Path(sys.argv[1]), "cpu", 1)
"""


@pytest.mark.parametrize(("environment", "tells"), [({}, False), ({"ORT_DISABLE_TELEMETRY": "0"}, True)])
def test_tells_nobody_what_it_runs_unless_asked_to(
    environment: dict[str, str], tells: bool, tmp_path: Path
) -> None:
    """Telemetry keeps a queue of events in the home folder. It is off in CI and under pytest: hence a process
    that knows of neither."""
    graph = DEMO_BUNDLE / "model.fp32.onnx"
    subprocess.run(
        [sys.executable, "-c", SCRIPT, graph],
        env={"HOME": str(tmp_path), **environment},
        cwd=ROOT,
        check=True,
    )
    assert bool(list(tmp_path.rglob("onnxruntime.db"))) == tells
