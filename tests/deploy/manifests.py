"""Reads `deploy/`: rendered Kubernetes overlays, the compose file, systemd units, the Dockerfile."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = DEPLOY / "images" / "Dockerfile"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
UNITS = DEPLOY / "systemd"

Manifest = dict[str, Any]


@cache
def render(folder: Path) -> tuple[Manifest, ...]:
    """Return the objects of a kustomization, as `kubectl apply --kustomize` would send them."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: overlays cannot be rendered")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def overlay(name: str) -> tuple[Manifest, ...]:
    return render(KUBERNETES / "overlays" / name)


def find(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    (found,) = (one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def pod_specs(manifests: Iterable[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield the name and pod specification of every Deployment, Job and CronJob."""
    for one in manifests:
        match one["kind"]:
            case "Deployment" | "Job":
                yield one["metadata"]["name"], one["spec"]["template"]["spec"]
            case "CronJob":
                yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def environment(manifests: tuple[Manifest, ...], container: Manifest) -> dict[str, str | None]:
    """Return a container's environment variables. None for a value from a secret."""
    values: dict[str, str | None] = {}
    for source in container.get("envFrom", ()):
        values |= find(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", ()):
        values[variable["name"]] = variable.get("value")
    return values


def compose() -> Manifest:
    loaded: Manifest = yaml.safe_load(COMPOSE.read_text())
    return loaded


def unit(name: str) -> ConfigParser:
    """Parse a unit file. The values of a repeated key are joined by line breaks."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in (UNITS / name).read_text().splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(heading[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section[key] = f"{section[key]}\n{value}" if key in section else value
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    parser.read_dict(sections)
    return parser


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the Dockerfile's stages by name, each a list of (instruction, arguments)."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(None, re.sub(r"\\\n\s*", "", text).splitlines()):
        instruction, arguments = line.split(maxsplit=1)
        if instruction == "FROM":
            found[arguments.split(" AS ")[1]] = []
        list(found.values())[-1].append((instruction, arguments))
    return found
