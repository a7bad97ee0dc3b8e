"""What `deploy/` and its pages name exists: settings, commands, queues."""

import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from tests.conftest import ROOT
from tests.deploy.manifests import DEPLOY, UNITS, compose, overlay, pod_specs, stages, unit
from worker.cli import app
from worker.settings import WorkerSettings

SETTINGS = {f"COGENRE_{name.upper()}" for name in WorkerSettings.model_fields}
FILES = [
    file
    for folder in ("images", "compose", "kubernetes", "systemd")
    for file in (DEPLOY / folder).rglob("*")
    if file.is_file() and file.suffix != ".pyc"
]
PAGES = list((ROOT / "docs").glob("deploy*.md"))


def assert_command(words: list[str]) -> None:
    """`cogenre` knows them, up to the first that is an argument."""
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words:
        assert words[0] in command.commands, f"there is no `cogenre {' '.join(words)}`"
        command, words = command.commands[words[0]], words[1:]
    assert not isinstance(command, TyperGroup)
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("file", [*FILES, *PAGES], ids=lambda file: str(file.relative_to(ROOT)))
def test_every_setting_exists(file: Path) -> None:
    named = set(re.findall(r"\bCOGENRE_[A-Z0-9_]+[A-Z0-9]", file.read_text()))
    assert named <= SETTINGS


@pytest.mark.parametrize("name", ["cpu", "gpu", "production"])
def test_every_command_of_kubernetes_exists(name: str) -> None:
    commands = [container["args"] for _, pod in pod_specs(overlay(name)) for container in pod["containers"]]
    assert len(commands) == 4
    for command in commands:
        assert_command(command)


def test_every_command_of_compose_exists() -> None:
    services = compose()["services"].values()
    commands = [one["command"] for one in services if "build" in one and "command" in one]
    assert len(commands) == 4
    for command in commands:
        assert_command(command)


def test_every_command_of_systemd_exists() -> None:
    for file in UNITS.glob("*.service"):
        program, *words = unit(file.name)["Service"]["ExecStart"].split()
        assert program == "/opt/cogenre/bin/cogenre"
        assert_command(words)


def test_the_images_run_the_worker() -> None:
    for image in ("worker-cpu", "worker-gpu"):
        assert ("CMD", '["worker"]') in stages()[image]
    assert_command(["worker"])


def test_what_does_not_exist_is_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_command(["catalog", "migrat"])
    with pytest.raises(AssertionError):
        assert_command(["reconcile", "--ever"])
    with pytest.raises(AssertionError):
        assert_command(["catalog"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_exists(page: Path) -> None:
    """Those in blocks that the docs' own test does not run."""
    for block in re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in re.findall(r"(?:^\$ (?:\S+/)?cogenre|run --rm tools) ([a-z].*)$", block, re.MULTILINE):
            assert_command(line.split())
