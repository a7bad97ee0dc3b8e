"""Settings, metrics, alerts, commands and options that docs/ and deploy/ name exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.core

from exporter.cli import app as export_app
from schemas.catalog.access import ROLES
from tests.conftest import ROOT
from tests.deploy.monitoring import alerts, metric_names, recorded_series
from tests.deploy.test_rules import exported_series
from trainer.cli import app as train_app
from worker.cli import app as worker_app
from worker.observe.reference import settings_page

TEXT = {".md", ".yaml", ".yml", ".json", ".env", ".service", ".timer", ".toml", ".sh", ".conf", ""}
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(
        path
        for path in (ROOT / "deploy").rglob("*")
        if path.is_file() and path.suffix in TEXT and "demo" not in path.relative_to(ROOT).parts
    ),
]

COMMANDS = {
    "cogenre": typer.main.get_command(worker_app),
    "cogenre-train": typer.main.get_command(train_app),
    "cogenre-export": typer.main.get_command(export_app),
}
CODE = re.compile(r"^( *)```.*?\n(.*?)^\1```$|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
CALL = re.compile(
    # Only where a command begins: after another word, cogenre may be the name of a namespace.
    r"(?:^ *|[;|&(] *|/|(?:--|exec|\w=\S*) )(cogenre(?:-train|-export)?)((?: +[^\s;|&)]+)*)",
    re.MULTILINE,
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def settings() -> set[str]:
    return set(re.findall(r"^\| `(COGENRE_\w+)`", settings_page(), re.MULTILINE))


@every_page
def test_settings_exist(page: Path) -> None:
    assert not set(re.findall(r"\bCOGENRE_[A-Z0-9_]+\b", page.read_text())) - settings()


@every_page
def test_metrics_and_alerts_exist(page: Path) -> None:
    text = page.read_text()
    known = exported_series().keys() | recorded_series() | set(ROLES.values())
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    named = set(re.findall(r"\bcogenre[_:][a-z0-9_:]*[a-z0-9]\b(?![_:*(])", text))
    assert not named - known - families
    assert not set(re.findall(r"\bCogenre[A-Z]\w+", text)) - alerts().keys()


@every_page
def test_commands_and_options_exist(page: Path) -> None:
    if page.suffix == ".md":
        for problem in problems(page.read_text()):
            pytest.fail(problem)


def problems(text: str) -> Iterator[str]:
    """Yield a message for each command or option in the code of a page that does not exist."""
    for _, block, inline in CODE.findall(text):
        code = re.sub(r"\\\n", " ", block or inline)
        code = re.sub(r"#.*$", "", code, flags=re.MULTILINE) if block else code
        for name, arguments in CALL.findall(code):
            yield from unknown(name, arguments.split())


def unknown(name: str, arguments: list[str]) -> Iterator[str]:
    """Yield a message if the words do not lead to a command, or for each option that it does not have."""
    command = COMMANDS[name]
    where = name
    rest = list(arguments)
    while (
        isinstance(command, typer.core.TyperGroup)
        and rest
        and re.fullmatch(r"[a-z][a-z-]*(\|[a-z|-]+)?", rest[0])
    ):
        word = rest.pop(0)
        if word not in command.commands:
            yield f"{where} has no command {word}"
            return
        command, where = command.commands[word], f"{where} {word}"
    options = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in rest:
        option = word.partition("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*", option) and option not in options | {"--help"}:
            yield f"{where} has no option {option}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`cogenre status --watch`", []),
        ("`cogenre statuses`", ["cogenre has no command statuses"]),
        ("```sh\ncogenre catalog migrate --twice\n```", ["cogenre catalog migrate has no option --twice"]),
        ("```sh\necho '{}' | cogenre enqueu -\n```", ["cogenre has no command enqueu"]),
        ("`cogenre-train fit --no-such`", ["cogenre-train fit has no option --no-such"]),
        ("`kubectl exec worker -- cogenre statuses`", ["cogenre has no command statuses"]),
        ("`kubectl -n cogenre create secret`", []),
        ("the cogenre statuses of prose", []),
    ],
)
def test_missing_commands_and_options_are_found(text: str, wrong: list[str]) -> None:
    assert list(problems(text)) == wrong


def test_names_of_each_kind_are_found_in_the_pages() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert len(set(re.findall(r"COGENRE_[A-Z_]+", text)) & settings()) > 20
    assert len(metric_names(text.replace("(", " ")) & exported_series().keys()) > 15
    assert {"cogenre", "cogenre-train", "cogenre-export"} <= {name for name, _ in CALL.findall(text)}
