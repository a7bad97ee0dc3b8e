"""The generated pages of docs/ match the code."""

from collections.abc import Callable

import pytest

from worker.observe.reference import DOCS, metrics_page, settings_page


@pytest.mark.parametrize(("page", "generate"), [("metrics.md", metrics_page), ("settings.md", settings_page)])
def test_the_page_is_up_to_date(page: str, generate: Callable[[], str]) -> None:
    assert (DOCS / page).read_text() == generate(), "run `make docs`"


def test_every_metric_has_the_prefix_and_a_meaning() -> None:
    rows = [line for line in metrics_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 15
    assert all(row.startswith("| `cogenre_") and row.endswith(". |") for row in rows)


def test_every_setting_has_a_meaning() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 15
    assert all(row.startswith("| `COGENRE_") and not row.endswith("| None |") for row in rows)
