"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """Return a Markdown table. With `numbers`, every column but the first is aligned to the right.

    A `|` in a cell is escaped.
    """
    rule = "--:" if numbers else "---"
    lines = [columns, ["---", *[rule] * (len(columns) - 1)], *rows]
    escaped = ([cell.replace("|", "\\|") for cell in cells] for cells in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)
