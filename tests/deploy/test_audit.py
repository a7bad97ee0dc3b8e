"""`make audit` and `make sbom`."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from deploy.audit import summarise
from tests.conftest import ROOT
from tests.test_requirements import pins

CLEAN = {"name": "celery", "version": "5.7.0", "vulns": []}
SKIPPED = {"name": "numpy", "skip_reason": "not found"}
VULNERABLE = {"name": "av", "version": "14", "vulns": [{"id": "CVE-2026-8461", "fix_versions": ["17"]}]}


@pytest.mark.parametrize("report", [None, {"dependencies": []}, {"dependencies": [SKIPPED]}])
def test_missing_data_is_reported_and_passes(report: dict[str, Any] | None) -> None:
    good, lines = summarise("worker.txt", report)
    assert good
    assert "NOT AUDITED" in lines[0]


def test_a_vulnerability_is_listed_with_the_fixed_version() -> None:
    good, lines = summarise("worker.txt", {"dependencies": [CLEAN, SKIPPED, VULNERABLE]})
    assert not good
    assert lines[0] == "worker.txt: 2 of 3 pins audited"
    assert "  not audited: numpy: not found" in lines
    assert "  av 14: CVE-2026-8461, fixed in 17" in lines


def test_pins_without_a_vulnerability_pass() -> None:
    assert summarise("worker.txt", {"dependencies": [CLEAN]}) == (True, ["worker.txt: 1 of 1 pins audited"])


@pytest.mark.heavy  # downloads the generator
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_bill_of_materials_lists_every_pin() -> None:
    done = subprocess.run(["make", "sbom"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the generator cannot be installed here: {done.stderr.strip()[-200:]}")
    for file, made in (("worker.txt", "sbom.json"), ("worker-gpu.txt", "sbom-gpu.json")):
        components = json.loads((ROOT / "dist" / made).read_text())["components"]
        listed = {(part["name"], part["version"]) for part in components}
        assert listed == {(pin.name, pin.version) for pin in pins(file)}
