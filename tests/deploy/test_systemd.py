"""The systemd units: checked by systemd-analyze, with the expected properties."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import UNITS, unit
from worker.settings import WorkerSettings

WORKER = "cogenre-worker@.service"
MAX_EXPOSURE = 2.0
"""Of 10, by `systemd-analyze security`."""

analyzed = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return the root folder of a simulated machine with the units installed."""
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    command = tmp_path / "opt/cogenre/bin/cogenre"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for file in UNITS.glob("*.*"):
        (units / file.name).write_text(file.read_text())
    return tmp_path


def add_gpu_drop_in(machine: Path) -> None:
    folder = machine / f"etc/systemd/system/{WORKER}.d"
    folder.mkdir()
    (folder / "gpu.conf").write_text((UNITS / "gpu" / "gpu.conf").read_text())


def verify(machine: Path) -> str:
    """Return systemd's output, empty if it finds nothing. Unknown keys are only warnings."""
    units = [file.name.replace("@.", "@1.") for file in UNITS.glob("*.*")]
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={machine}", "--man=no", *units], capture_output=True, text=True
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@analyzed
@pytest.mark.parametrize("gpus", [False, True])
def test_systemd_accepts_the_units(machine: Path, gpus: bool) -> None:
    if gpus:
        add_gpu_drop_in(machine)
    assert verify(machine) == ""


@analyzed
def test_an_unknown_key_is_detected(machine: Path) -> None:
    file = machine / "etc/systemd/system" / WORKER
    file.write_text(file.read_text().replace("KillMode=", "KilMode="))
    assert "KilMode" in verify(machine)


@analyzed
@pytest.mark.parametrize("name", [file.name for file in UNITS.glob("*.service")])
@pytest.mark.parametrize("gpus", [False, True])
def test_exposure_is_low(machine: Path, name: str, gpus: bool) -> None:
    if gpus:
        add_gpu_drop_in(machine)
    done = subprocess.run(
        [
            "systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={machine}",
            f"--threshold={MAX_EXPOSURE * 10:.0f}", name.replace("@.", "@1."),
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [file.name for file in UNITS.glob("*.service")])
def test_services_cannot_write_to_the_system_or_gain_privileges(name: str) -> None:
    service = unit(name)["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""


def test_every_cache_of_the_worker_is_in_a_writable_folder() -> None:
    """The default caches are in the home folder, which is read-only."""
    folder = unit(WORKER)["Service"]["CacheDirectory"]
    variables = [
        variable.partition("=")
        for file in (WORKER, "gpu/gpu.conf")
        for variable in unit(file)["Service"]["Environment"].splitlines()
    ]
    caches = {name: value for name, _, value in variables if name.endswith("_CACHE")}
    settings = {f"COGENRE_{name.upper()}" for name in WorkerSettings.model_fields if name.endswith("_cache")}
    assert caches.keys() == settings
    assert all(f"{value}/".startswith(f"%C/{folder}/") for value in caches.values())


def test_the_stop_timeout_is_longer_than_draining() -> None:
    service = unit(WORKER)["Service"]
    drain = WorkerSettings.model_fields["drain_seconds"].default
    assert int(service["TimeoutStopSec"]) >= drain + 10
    assert service["KillMode"] == "mixed", "decode processes must run until the worker has drained"


def test_a_worker_is_always_restarted() -> None:
    """Any number of times, and also after exit code 0, which follows draining because of memory."""
    assert unit(WORKER)["Service"]["Restart"] == "always"
    assert unit(WORKER)["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("timer", [file.name for file in UNITS.glob("*.timer")])
def test_every_timer_starts_a_service_once(timer: str) -> None:
    service = unit(timer.replace(".timer", ".service"))["Service"]
    assert service["Type"] == "oneshot"
    assert "Restart" not in service


def test_no_secret_is_in_a_unit() -> None:
    for file in UNITS.rglob("*.*"):
        assert not re.search(r"Environment=\S*(URL|KEY|PASSWORD)", file.read_text()), file.name
