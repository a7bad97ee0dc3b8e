"""The pages of docs/ are in step with the code."""

from collections.abc import Callable

import pytest

from worker.observe.reference import DOCS, metrics_page, settings_page


@pytest.mark.parametrize(("page", "made"), [("metrics.md", metrics_page), ("settings.md", settings_page)])
def test_the_page_is_what_the_code_declares(page: str, made: Callable[[], str]) -> None:
    assert (DOCS / page).read_text() == made(), "run `make docs`"


def test_every_metric_is_ours_and_says_what_it_is() -> None:
    rows = [line for line in metrics_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 15
    assert all(row.startswith("| `cogenre_") and row.endswith(". |") for row in rows)


def test_every_setting_has_a_meaning() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 15
    assert all(row.startswith("| `COGENRE_") and not row.endswith("| None |") for row in rows)
