"""The common look of charts, and their conversion to SVG that is written into the page. Needs matplotlib.

Importing this module sets matplotlib's defaults for the process.
"""

import html
import io
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

INK, FAINT, ACCENT = "#222222", "#b8b8b8", "#1f6f8b"
DIVERGING, SEQUENTIAL = "RdBu_r", "Blues"
ROW_INCHES = 0.28
"""Height of a bar, or of a row of a heat map."""

mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text: smaller, searchable, and accessible to screen readers
        "svg.hashsalt": "cogenre",  # the same chart gives the same bytes
        "text.parse_math": False,  # a genre's name may contain dollar signs
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
)


def new_figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """Return a figure of `width` × `height` inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def label_matrix(axes: "Axes", names: "Sequence[str]") -> None:
    """Label the rows and the columns of a heat map of square cells, the first row on top."""
    centres = np.arange(len(names)) + 0.5
    axes.set_xticks(centres, names, rotation=90)
    axes.set_yticks(centres, names)
    axes.invert_yaxis()
    axes.set_aspect("equal")


def to_svg(figure: Figure, label: str | None = None) -> str:
    """Return the figure as an `<svg>` element as wide as the page. Screen readers read `label`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = file.getvalue()
    start = drawing.index("<svg")
    aria = f'aria-label="{html.escape(label)}" ' if label else ""
    return drawing[start:].replace("<svg ", f'<svg role="img" {aria}class="chart" ', 1)
