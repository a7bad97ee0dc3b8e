"""The page: whole, self-contained, and drawn by a real browser. The Markdown: the same numbers."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.trainer.evaluation.labelled import GENRES, labelled_split
from trainer.evaluation.calibration import calibration
from trainer.evaluation.charts import curves, genres
from trainer.evaluation.findings import Findings
from trainer.evaluation.markdown import markdown
from trainer.evaluation.measure import measured
from trainer.evaluation.page import PAGE, render
from trainer.evaluation.relations import confusions, graphs

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE, PAPER = 390, 700
"""Pixels: of paper, A4 less a centimetre on either side."""
SECTIONS = [
    "With lyrics and without",
    "Genres",
    "Precision and recall",
    "Calibration",
    "Genres that go together",
    "Confusions between genres",
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


@pytest.fixture(scope="module")
def findings() -> Findings:
    labelled = labelled_split()
    groups, genres = measured(labelled, resamples=50, seed=0)
    return Findings(
        trained_on="songs",
        synthetic=False,
        data_set="<script>alert(1)</script>",
        split="test",
        tracks=120,
        left_out={"UnreadableFile": 3},
        resamples=50,
        level=0.95,
        seed=0,
        groups=tuple(groups),
        genres=tuple(genres),
        calibration=calibration(labelled.probabilities, labelled.labels),
        confusions=confusions(labelled.accepted, labelled.labels, GENRES),
        graphs=graphs(torch.rand(4, 4), torch.randn(4, 3), labelled.labels),
    )


@pytest.fixture(scope="module")
def page(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render(findings), encoding="utf-8")
    return file


def test_the_page_has_all_its_parts_and_fetches_nothing(page: Path) -> None:
    source = page.read_text()
    read = Page(source)
    assert read.headings == SECTIONS
    assert read.charts == 6
    assert read.fetched == []
    assert "@import" not in source
    assert not re.search(r"url\((?!['\"]?#)", source)


def test_the_page_is_drawn_from_the_json_alone(findings: Findings, page: Path) -> None:
    assert render(Findings.model_validate_json(findings.model_dump_json())) == page.read_text()


def test_what_others_wrote_is_escaped_and_no_formula(page: Path) -> None:
    source = page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert "<script" not in source
    assert "<b>" not in source
    # In the table and at both charts.
    assert source.count("R&amp;B &lt;b&gt;$oul$&lt;/b&gt;") == 3


def test_it_says_what_is_missing(page: Path) -> None:
    source = page.read_text()
    assert "3 UnreadableFile" in source
    assert "No track has polka" in source


def test_a_page_of_synthetic_music_says_so(findings: Findings, page: Path) -> None:
    sentence = "made by a program"
    assert sentence not in page.read_text()
    synthetic = findings.model_copy(update={"synthetic": True})
    assert sentence in render(synthetic)
    assert sentence in markdown(synthetic)


def test_ids_within_the_charts_do_not_collide(page: Path) -> None:
    """A clip path of one chart that another's refers to would cut it off."""
    for chart in re.findall(r"<svg.*?</svg>", page.read_text(), re.DOTALL):
        assert set(re.findall(r"url\(#([^)]+)\)", chart)) <= set(re.findall(r'id="([^"]+)"', chart))


def test_as_many_panels_as_genres_with_a_curve(findings: Findings) -> None:
    """Thirteen: a drawing of twelve and one more."""
    drawings = curves([*[findings.genres[0]] * 13, findings.genres[3]], tracks=120)
    assert [drawing.count("Electronic") for drawing in drawings] == [12, 1]


def test_as_many_genres_in_a_drawing_as_a_page_has_room_for(findings: Findings) -> None:
    """Music4All has 87 after the paper's filter."""
    drawings = genres([findings.genres[0]] * 87)
    assert [drawing.count("Electronic") for drawing in drawings] == [15, 15, 15, 14, 14, 14]
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawings[0])[0])
    most = re.search(r"max-width: (\d+)rem.*max-height: (\d+)rem", PAGE, re.DOTALL)
    assert most
    assert height / width <= int(most[2]) / int(most[1])


def test_a_split_without_confusions(findings: Findings) -> None:
    right = findings.model_copy(update={"confusions": ()})
    assert "<p>None.</p>" in render(right)
    assert markdown(right).endswith("None.\n")


def test_markdown_has_the_numbers(findings: Findings) -> None:
    text = markdown(findings)
    f1 = findings.groups[0].metrics["f1"]
    line = next(line for line in text.splitlines() if line.startswith("| all tracks | 120 |"))
    assert f"{f1.value:.3f} ({f1.low:.3f}–{f1.high:.3f})" in line
    polka = next(line for line in text.splitlines() if line.startswith("| polka"))
    assert polka.endswith("| 0.500 |  |  |  |  |")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [PHONE, 1200])
def test_a_browser_draws_it(page: Path, tmp_path: Path, width: int) -> None:
    """The curves' blue and the heat map's dark red are on the screen: drawn, not only there."""
    assert BROWSER
    picture = tmp_path / "page.png"
    subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={max(width, 500)},4500",
         f"--screenshot={picture}", page.as_uri()],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with av.open(str(picture)) as file:
        pixels = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    blue, red = (
        (np.abs(pixels - colour).sum(axis=2) < 12).sum() for colour in ([0x1F, 0x6F, 0x8B], [0x67, 0, 0x1F])
    )
    assert blue > 3_000
    assert red > 3_000
    assert (np.ptp(pixels, axis=(1, 2)) > 0).mean() > 0.3, "more than blank lines"


def width_in_a_frame(page: Path, tmp_path: Path, width: int, measured: str) -> int:
    """`measured`, of a document d, in a frame: browsers make no window as narrow as a phone."""
    assert BROWSER
    frame = page.parent / "frame.html"
    frame.write_text(
        f"<iframe id=frame src={page.name} width={width} height=800 style='border: 0'></iframe><script>"
        f"frame.onload = () => {{ let d = frame.contentDocument; document.title = {measured} }}</script>"
    )
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
         frame.as_uri()],
        check=True, capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    title = re.search(r"<title>(\d+)</title>", done.stdout)
    assert title, done.stdout
    return int(title[1])


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_page_itself_does_not_scroll_sideways_on_a_phone(page: Path, tmp_path: Path) -> None:
    assert width_in_a_frame(page, tmp_path, PHONE, "d.documentElement.scrollWidth") <= PHONE


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_no_table_is_cut_off_on_paper(page: Path, tmp_path: Path) -> None:
    """Nobody scrolls paper."""
    printed = page.with_name("printed.html")
    printed.write_text(page.read_text().replace("@media print", "@media all"))
    widest = "Math.max(...[...d.querySelectorAll('.scroll')].map(part => part.scrollWidth))"
    room = "d.querySelector('.scroll').clientWidth"
    assert width_in_a_frame(printed, tmp_path, PAPER, widest) <= width_in_a_frame(
        printed, tmp_path, PAPER, room
    )
