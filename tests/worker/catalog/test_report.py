"""The report: whole, self-contained, and drawn by a real browser."""

import math
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sqlalchemy import Engine, text

from schemas.errors import ConfigError
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
from tests.worker.catalog.labels import model
from worker.catalog import charts
from worker.catalog.feedback import add_feedback
from worker.catalog.refresh import refresh
from worker.catalog.report import QUERIES, write_report

SECTIONS = [
    "Genres",
    "Genres that occur together",
    "Learned and observed correlations of genres",
    "Scores and feedback",
    "Coverage and failures",
    "Weekly drift",
    "Models",
]


@pytest.fixture
def labelled(catalog: Engine) -> Engine:
    fake = model(catalog)
    model(catalog, "2").label("t0", jazz=0.9)
    for at in range(30):
        fake.label(f"t{at}", rock=0.9, pop=0.8 if at % 3 else 0.2, jazz=0.7 if at % 5 == 0 else 0.1)
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
    parsed = ParsedPage(source)
    assert parsed.headings == SECTIONS
    assert parsed.charts == 7
    assert_self_contained(source)
    assert len(source) < 1_000_000


def test_every_chart_has_a_label_for_screen_readers(page: Path) -> None:
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', page.read_text())
    assert len(set(labels)) == 7


def drawn(monkeypatch: pytest.MonkeyPatch, chart: Callable[[], str]) -> list[Axes]:
    """Return the axes of the chart that is not empty."""
    kept: list[Axes] = []

    def keep(figure: Figure, _: str) -> str:
        kept.extend(axes for axes in figure.axes if axes.has_data())
        return ""

    monkeypatch.setattr(charts, "to_svg", keep)
    chart()
    return kept


def test_calibration_has_a_line_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    bins = [
        {"model": model, "mean_score": score, "share_correct": score / 2, "votes": 3}
        for score in (0.9, 0.5)
        for model in ("b:1", "a:1")
    ]
    (axes,) = drawn(monkeypatch, lambda: charts.draw_calibration(bins))
    lines = {str(line.get_label()): np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()[1:]}
    assert lines == {"a:1": [0.5, 0.9], "b:1": [0.5, 0.9]}
    assert len({line.get_color() for line in axes.get_lines()}) == 3


def test_drift_has_dates_zeros_and_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2026, 1, 5) + timedelta(weeks=at) for at in (0, 1, 3)]
    rock = [0.5, 0.0, 0.25]
    weeks = [{"week": day, "genre": "rock", "share": share} for day, share in zip(days, rock, strict=True)]
    (axes,) = drawn(monkeypatch, lambda: charts.draw_drift(weeks, ["rock"]))
    (line,) = axes.get_lines()
    np.testing.assert_equal(np.asarray(line.get_ydata()), [0.5, 0.0, math.nan, 0.25])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["05 Jan 26", "26 Jan 26"]


def test_drift_is_of_whole_weeks_and_counts_zeros(labelled: Engine) -> None:
    """The fixture registers a track every four days, the last one now. Every fifth track is jazz."""
    with labelled.connect() as connection:
        weeks = connection.execute(text(QUERIES["drift"])).all()
        first, last = connection.execute(
            text("select min(week), max(week) from analytics.coverage_week")
        ).one()
    days = sorted({row.week for row in weeks})
    assert days == [first + timedelta(weeks=at) for at in range(1, (last - first).days // 7)]
    assert {row.genre for row in weeks} == {"rock", "pop", "jazz"}
    assert len(weeks) == 3 * len(days)
    shares = {row.share for row in weeks if row.genre == "jazz"}
    assert 0 in shares
    assert len(shares) > 1


def test_growth_is_that_of_the_view(labelled: Engine) -> None:
    with labelled.connect() as connection:
        reported = connection.execute(text(QUERIES["growth"])).all()
        view = connection.execute(text("select * from analytics.genre_growth")).all()
    assert sorted(map(tuple, reported)) == sorted(map(tuple, view))
    assert [abs(row.change) for row in reported] == sorted((abs(row.change) for row in view), reverse=True)


def test_surprises_are_ordered_by_difference_of_ranks(page: Path) -> None:
    """The learned correlations of pop and jazz are equal; more of rock's tracks are pop."""
    row = '<td>rock</td><td>pop</td><td class="number">1.5</td><td class="number">1</td>'
    assert row in page.read_text()


def test_learned_correlation_is_drawn_by_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[dict[str, Any]] = [
        {"learned_correlation": 0.4, "learned_rank": 1.0, "observed_rank": 2.0},
        {"learned_correlation": None, "learned_rank": None, "observed_rank": None},
    ]
    (axes,) = drawn(monkeypatch, lambda: charts.draw_learned_correlation(pairs))
    assert np.asarray(axes.collections[0].get_offsets()).tolist() == [[1.0, 2.0]]
    assert not axes.texts


def test_what_others_wrote_is_escaped(page: Path) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.read_text()
    assert "<script" not in page.read_text()


def test_ids_within_the_charts_do_not_collide(page: Path) -> None:
    assert_chart_ids_resolve(page.read_text())


def test_an_empty_catalog_has_a_report(catalog: Engine, tmp_path: Path) -> None:
    write_report(catalog, tmp_path / "catalog.html")
    parsed = ParsedPage((tmp_path / "catalog.html").read_text())
    assert parsed.headings == ["Scores and feedback", "Models"]


def test_a_report_that_cannot_be_written(catalog: Engine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        write_report(catalog, tmp_path / "none" / "catalog.html")


@needs_browser
@pytest.mark.parametrize("width", [PHONE_PIXELS, 1200])
def test_a_browser_draws_it(page: Path, tmp_path: Path, width: int) -> None:
    """The screenshot contains the blue of the bars."""
    pixels = screenshot(page, tmp_path, width, height=4000)
    assert count_pixels(pixels, (0x1F, 0x6F, 0x8B)) > 5_000
    assert share_of_lines_drawn(pixels) > 0.3


@needs_browser
def test_the_page_itself_does_not_scroll_sideways_on_a_phone(page: Path, tmp_path: Path) -> None:
    width = measure_in_frame(page, tmp_path, PHONE_PIXELS, "d.documentElement.scrollWidth")
    assert width <= PHONE_PIXELS
