"""The report: whole, self-contained, and drawn by a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from sqlalchemy import Engine, text

from tests.worker.catalog.labels import model
from worker.catalog.feedback import add_feedback
from worker.catalog.refresh import refresh
from worker.catalog.report import write_report
from worker.errors import ConfigError

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE = 390
SECTIONS = [
    "Genres",
    "Genres that go together",
    "What the model believes, and what the catalog shows",
    "Scores, and what people say",
    "Coverage and failures",
    "Drift, week on week",
    "Models",
]


class Page(HTMLParser):
    """Headings, and everything that the page would fetch from elsewhere."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.fetched: list[str] = []
        self.charts = 0
        self._in_heading = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_heading = tag == "h2"
        self.charts += tag == "svg"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data") and not (value or "").startswith(("#", "data:")):
                self.fetched.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data)
            self._in_heading = False


@pytest.fixture
def labelled(catalog: Engine) -> Engine:
    said = model(catalog)
    model(catalog, "2").label("t0", jazz=0.9)
    for at in range(30):
        said.label(f"t{at}", rock=0.9, pop=0.8 if at % 3 else 0.2, jazz=0.7 if at % 5 == 0 else 0.1)
    add_feedback(catalog, "t1", "rock", True, "ann")
    add_feedback(catalog, "t1", "pop", False, "<b>bob</b>")
    with catalog.begin() as connection:
        connection.execute(
            text("update track set registered_at = now() - cast(substr(id, 2) as int) * interval '4 days'")
        )
        connection.execute(
            text(
                "insert into ingest_failure (track_id, stage, error_class, reason, payload) "
                "values (null, 'validate', '<script>alert(1)</script>', 'why', '{}')"
            )
        )
    refresh(catalog)
    return catalog


@pytest.fixture
def page(labelled: Engine, tmp_path: Path) -> Path:
    write_report(labelled, tmp_path / "catalog.html")
    return tmp_path / "catalog.html"


def test_the_page_has_all_its_parts_and_fetches_nothing(page: Path) -> None:
    source = page.read_text()
    read = Page(source)
    assert read.headings == SECTIONS
    assert read.charts == 7
    assert read.fetched == []
    assert "@import" not in source
    assert not re.search(r"url\((?!['\"]?#)", source)
    assert len(source) < 1_000_000


def test_what_others_wrote_is_escaped(page: Path) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.read_text()
    assert "<script" not in page.read_text()


def test_ids_within_the_charts_do_not_collide(page: Path) -> None:
    """A clip path of one chart that another's refers to would cut it off."""
    source = page.read_text()
    for chart in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        assert set(re.findall(r"url\(#([^)]+)\)", chart)) <= set(re.findall(r'id="([^"]+)"', chart))


def test_an_empty_catalog_has_a_report(catalog: Engine, tmp_path: Path) -> None:
    write_report(catalog, tmp_path / "catalog.html")
    read = Page((tmp_path / "catalog.html").read_text())
    assert read.headings == ["Scores, and what people say", "Models"]


def test_a_place_that_cannot_be_written(catalog: Engine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        write_report(catalog, tmp_path / "none" / "catalog.html")


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [PHONE, 1200])
def test_a_browser_draws_it(page: Path, tmp_path: Path, width: int) -> None:
    """The heat map's red and the bars' blue are on the screen: the charts are drawn, not only there."""
    assert BROWSER
    picture = tmp_path / "page.png"
    subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={max(width, 500)},4000",
         f"--screenshot={picture}", page.as_uri()],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with av.open(str(picture)) as file:
        pixels = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    blue = np.abs(pixels - [0x1F, 0x6F, 0x8B]).sum(axis=2) < 12
    assert blue.sum() > 5_000
    assert (np.ptp(pixels, axis=(1, 2)) > 0).mean() > 0.3, "more than blank lines"


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_page_itself_does_not_scroll_sideways_on_a_phone(page: Path, tmp_path: Path) -> None:
    """In a frame of a phone's width: browsers make no window that narrow."""
    assert BROWSER
    frame = tmp_path / "phone.html"
    frame.write_text(
        f"<iframe id=phone src={page.name} width={PHONE} height=800></iframe><script>phone.onload = () => "
        "document.title = phone.contentDocument.documentElement.scrollWidth</script>"
    )
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
         frame.as_uri()],
        check=True, capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    title = re.search(r"<title>(\d+)</title>", done.stdout)
    assert title, done.stdout
    assert int(title[1]) <= PHONE
