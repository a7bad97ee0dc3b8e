"""The units, by systemd's own tools, and what operators rely on."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import UNITS, unit
from worker.settings import WorkerSettings

WORKER = "cogenre-worker@.service"
MOST_EXPOSURE = 2.0
"""Of 10, as `systemd-analyze security` counts it."""

analyzed = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze here: the units were not verified"
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The root folder of a machine on which the units are installed."""
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


def on_gpus(machine: Path) -> None:
    folder = machine / f"etc/systemd/system/{WORKER}.d"
    folder.mkdir()
    (folder / "gpu.conf").write_text((UNITS / "gpu" / "gpu.conf").read_text())


def verify(machine: Path) -> str:
    """What systemd finds: unknown keys are warnings to it, and it ends well."""
    units = [file.name.replace("@.", "@1.") for file in UNITS.glob("*.*")]
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={machine}", "--man=no", *units], capture_output=True, text=True
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@analyzed
@pytest.mark.parametrize("gpus", [False, True])
def test_systemd_takes_the_units(machine: Path, gpus: bool) -> None:
    if gpus:
        on_gpus(machine)
    assert verify(machine) == ""


@analyzed
def test_a_key_that_systemd_does_not_know_is_noticed(machine: Path) -> None:
    file = machine / "etc/systemd/system" / WORKER
    file.write_text(file.read_text().replace("KillMode=", "KilMode="))
    assert "KilMode" in verify(machine)


@analyzed
@pytest.mark.parametrize("name", [file.name for file in UNITS.glob("*.service")])
@pytest.mark.parametrize("gpus", [False, True])
def test_little_is_exposed(machine: Path, name: str, gpus: bool) -> None:
    if gpus:
        on_gpus(machine)
    done = subprocess.run(
        [
            "systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={machine}",
            f"--threshold={MOST_EXPOSURE * 10:.0f}", name.replace("@.", "@1."),
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [file.name for file in UNITS.glob("*.service")])
def test_no_service_may_write_to_the_machine_or_gain_rights(name: str) -> None:
    service = unit(name)["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""


def test_every_cache_of_the_worker_is_where_it_may_write() -> None:
    """Its home cannot be written, where the caches are unless it is told."""
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


def test_the_worker_may_drain() -> None:
    service = unit(WORKER)["Service"]
    drain = WorkerSettings.model_fields["drain_seconds"].default
    assert int(service["TimeoutStopSec"]) >= drain + 10
    assert service["KillMode"] == "mixed", "its decode processes are needed to the end"


def test_a_worker_that_ended_is_started_again() -> None:
    """With 0 too, which it ends with when it has drained for its memory; and however often."""
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
