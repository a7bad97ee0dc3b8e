"""The parts of a page: escaping, the format of cells, and which columns are right-aligned."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from report.markdown import markdown_table
from report.page import Cell, FormattedNumber, key_figures, render_page, section, table
from tests.report.pages import ParsedPage, assert_self_contained


@pytest.mark.parametrize(
    ("cell", "html"),
    [
        (None, ""),
        ("<b>", "&lt;b&gt;"),
        (0.5, "0.500"),
        (1234, "1,234"),
        (Decimal("1.5"), "1.5"),
        (datetime(2026, 1, 5, 7, 8, tzinfo=UTC), "2026-01-05 07:08"),
        (FormattedNumber("50%"), "50%"),
        (FormattedNumber("0.5", "0.4<0.6"), "0.5<small>0.4&lt;0.6</small>"),
    ],
)
def test_a_cell_is_formatted_by_its_type_and_escaped(cell: Cell, html: str) -> None:
    assert f">{html}</td>" in table(["column"], [[cell]])
    assert f"<strong>{html}</strong>" in key_figures({"caption": cell})


def test_a_column_with_a_number_is_right_aligned() -> None:
    page = table(["genre", "tracks", "share"], [["rock", 1, None], ["pop", None, FormattedNumber("50%")]])
    assert page.count('<th class="number">') == 2
    assert page.count('<td class="number">') == 4
    assert "<td>rock</td>" in page


def test_a_table_without_rows_is_a_sentence() -> None:
    assert table(["genre"], []) == "<p>None.</p>"
    assert table(["genre"], [], "No <genre>.") == "<p>No &lt;genre&gt;.</p>"


def test_a_page_has_its_parts_and_loads_nothing() -> None:
    source = render_page("The <title>", "A <note>", [section("Genres & more", "<i>", "<p>text</p>")], "i {}")
    assert_self_contained(source)
    assert source.count("The &lt;title&gt;") == 2
    assert "A &lt;note&gt;" in source
    assert "&lt;i&gt;" in source
    assert "<p>text</p>" in source
    assert "i {}\n</style>" in source
    assert ParsedPage(source).headings == ["Genres & more"]


def test_markdown_aligns_numbers_to_the_right() -> None:
    assert markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | --- |\n| x | 1 |"
    assert markdown_table(["a"], [["x | y"]]) == "| a |\n| --- |\n| x \\| y |"
    assert markdown_table(["a", "b"], [["x", "1"]], numbers=True) == "| a | b |\n| --- | --: |\n| x | 1 |"
