"""The page is complete, self-contained, and rendered by a browser. The Markdown has the same numbers."""

import re
from pathlib import Path

import pytest
import torch

from report.page import MAX_CHART_HEIGHT_REM, MAX_WIDTH_REM
from tests.report.pages import (
    PHONE_PIXELS,
    ParsedPage,
    assert_chart_ids_resolve,
    assert_self_contained,
    count_pixels,
    measure_in_frame,
    needs_browser,
    screenshot,
    share_of_lines_drawn,
)
from tests.trainer.evaluation.scored_split import GENRES, scored_split
from trainer.evaluation.calibration import compute_calibration
from trainer.evaluation.charts import draw_curves, draw_genres
from trainer.evaluation.findings import Findings
from trainer.evaluation.genre_pairs import compare_graphs, count_confusions
from trainer.evaluation.markdown import render_markdown
from trainer.evaluation.measure import measure_split
from trainer.evaluation.page import render_html

PAPER_PIXELS = 700
"""Width of A4 without margins of 1 cm."""
SECTIONS = [
    "With lyrics and without",
    "Genres",
    "Precision and recall",
    "Calibration",
    "Genres that occur together",
    "Confusions between genres",
]


@pytest.fixture(scope="module")
def findings() -> Findings:
    labelled = scored_split()
    groups, genres = measure_split(labelled, resamples=50, seed=0)
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
        calibration=compute_calibration(labelled.probabilities, labelled.labels),
        confusions=count_confusions(labelled.accepted, labelled.labels, GENRES),
        graphs=compare_graphs(torch.rand(4, 4), torch.randn(4, 3), labelled.labels),
    )


@pytest.fixture(scope="module")
def page(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_html(findings), encoding="utf-8")
    return file


def test_the_page_has_all_sections_and_loads_no_other_files(page: Path) -> None:
    source = page.read_text()
    parsed = ParsedPage(source)
    assert parsed.headings == SECTIONS
    assert parsed.charts == 6
    assert_self_contained(source)


def test_the_page_can_be_rendered_from_the_json(findings: Findings, page: Path) -> None:
    assert render_html(Findings.model_validate_json(findings.model_dump_json())) == page.read_text()


def test_names_are_escaped_and_not_rendered_as_formulas(page: Path) -> None:
    source = page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert "<script" not in source
    assert "<b>" not in source
    # In the table and at both charts.
    assert source.count("R&amp;B &lt;b&gt;$oul$&lt;/b&gt;") == 3


def test_left_out_tracks_and_missing_genres_are_named(page: Path) -> None:
    source = page.read_text()
    assert "3 UnreadableFile" in source
    assert "No track has polka" in source


def test_a_model_of_synthetic_music_is_marked(findings: Findings, page: Path) -> None:
    sentence = "made by a program"
    assert sentence not in page.read_text()
    synthetic = findings.model_copy(update={"synthetic": True})
    assert sentence in render_html(synthetic)
    assert sentence in render_markdown(synthetic)


def test_ids_within_the_charts_do_not_collide(page: Path) -> None:
    assert_chart_ids_resolve(page.read_text())


def test_each_genre_with_a_curve_has_a_panel(findings: Findings) -> None:
    """Thirteen genres: a grid of twelve panels, and a second grid."""
    drawings = draw_curves([*[findings.genres[0]] * 13, findings.genres[3]], tracks=120)
    assert [drawing.count("Electronic") for drawing in drawings] == [12, 1]


def test_the_chart_of_genres_is_split_to_fit_the_page(findings: Findings) -> None:
    """87 is the number of genres of Music4All after the paper's filter."""
    drawings = draw_genres([findings.genres[0]] * 87)
    assert [drawing.count("Electronic") for drawing in drawings] == [15, 15, 15, 14, 14, 14]
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawings[0])[0])
    assert height / width <= MAX_CHART_HEIGHT_REM / MAX_WIDTH_REM


def test_a_split_without_confusions(findings: Findings) -> None:
    without_confusions = findings.model_copy(update={"confusions": ()})
    assert "<p>None.</p>" in render_html(without_confusions)
    assert render_markdown(without_confusions).endswith("None.\n")


def test_markdown_has_the_numbers(findings: Findings) -> None:
    text = render_markdown(findings)
    f1 = findings.groups[0].metrics["f1"]
    line = next(line for line in text.splitlines() if line.startswith("| all tracks | 120 |"))
    assert f"{f1.value:.3f} ({f1.low:.3f}–{f1.high:.3f})" in line
    polka = next(line for line in text.splitlines() if line.startswith("| polka"))
    assert polka.endswith("| 0.500 |  |  |  |  |")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


@needs_browser
@pytest.mark.parametrize("width", [PHONE_PIXELS, 1200])
def test_a_browser_renders_the_page(page: Path, tmp_path: Path, width: int) -> None:
    """The screenshot contains the blue of the curves and the dark red of the heat map."""
    pixels = screenshot(page, tmp_path, width, height=4500)
    assert count_pixels(pixels, (0x1F, 0x6F, 0x8B)) > 3_000
    assert count_pixels(pixels, (0x67, 0, 0x1F)) > 3_000
    assert share_of_lines_drawn(pixels) > 0.3


@needs_browser
def test_the_page_itself_does_not_scroll_sideways_on_a_phone(page: Path, tmp_path: Path) -> None:
    width = measure_in_frame(page, tmp_path, PHONE_PIXELS, "d.documentElement.scrollWidth")
    assert width <= PHONE_PIXELS


@needs_browser
def test_no_table_is_cut_off_on_paper(page: Path, tmp_path: Path) -> None:
    """Paper does not scroll."""
    printed = page.with_name("printed.html")
    printed.write_text(page.read_text().replace("@media print", "@media all"))
    widest = "Math.max(...[...d.querySelectorAll('.scroll')].map(part => part.scrollWidth))"
    available = "d.querySelector('.scroll').clientWidth"
    assert measure_in_frame(printed, tmp_path, PAPER_PIXELS, widest) <= measure_in_frame(
        printed, tmp_path, PAPER_PIXELS, available
    )
