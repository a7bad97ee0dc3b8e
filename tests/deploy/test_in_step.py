"""The commands in `deploy/` exist, with their options."""

import pytest
import typer
from typer.core import TyperGroup

from tests.deploy.manifests import UNITS, compose, overlay, pod_specs, stages, unit
from worker.cli import app


def assert_command(words: list[str]) -> None:
    """Fail unless these words are a command of `cogenre` and its options, with or without arguments."""
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words:
        assert words[0] in command.commands, f"there is no `cogenre {' '.join(words)}`"
        command, words = command.commands[words[0]], words[1:]
    assert not isinstance(command, TyperGroup)
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("name", ["cpu", "gpu", "production"])
def test_every_command_of_kubernetes_exists(name: str) -> None:
    commands = [container["args"] for _, pod in pod_specs(overlay(name)) for container in pod["containers"]]
    assert len(commands) == 4
    for command in commands:
        assert_command(command)


def test_every_command_of_compose_exists() -> None:
    services = compose()["services"].values()
    commands = [one["command"] for one in services if "build" in one and "command" in one]
    assert len(commands) == 5
    for command in commands:
        assert_command(command)


def test_every_command_of_systemd_exists() -> None:
    for file in UNITS.glob("*.service"):
        program, *words = unit(file.name)["Service"]["ExecStart"].split()
        assert program == "/opt/cogenre/bin/cogenre"
        assert_command(words)


def test_every_deployment_refreshes_the_analytics_views_periodically() -> None:
    refresh = ["catalog", "refresh"]
    services = compose()["services"].values()
    assert any([*refresh, "--every"] == one.get("command", [])[:3] for one in services)
    for name in ("cpu", "gpu", "production"):
        pods = pod_specs(one for one in overlay(name) if one["kind"] == "CronJob")
        assert refresh in [container["args"] for _, pod in pods for container in pod["containers"]]
    timed = [unit(file.name.replace(".timer", ".service")) for file in UNITS.glob("*.timer")]
    assert refresh in [one["Service"]["ExecStart"].split()[1:] for one in timed]


def test_the_images_run_the_worker() -> None:
    for image in ("worker-cpu", "worker-gpu"):
        assert ("CMD", '["worker"]') in stages()[image]
    assert_command(["worker"])


def test_unknown_commands_and_options_are_detected() -> None:
    with pytest.raises(AssertionError):
        assert_command(["catalog", "migrat"])
    with pytest.raises(AssertionError):
        assert_command(["reconcile", "--ever"])
    with pytest.raises(AssertionError):
        assert_command(["catalog"])
