import subprocess
import sys
from pathlib import Path

from tests.conftest import DEMO_BUNDLE, ROOT

SCRIPT = """
import sys
from worker.models.model import open_bundle
open_bundle(sys.argv[1])
"""


def test_onnx_runtime_sends_no_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry stores events in the home folder.

    It is off in CI and under pytest, so the model is opened in a process without their environment variables.
    """
    subprocess.run(
        [sys.executable, "-c", SCRIPT, DEMO_BUNDLE], env={"HOME": str(tmp_path)}, cwd=ROOT, check=True
    )
    assert not list(tmp_path.rglob("onnxruntime.db"))
