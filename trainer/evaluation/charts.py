"""Charts of the evaluation's page, as SVG elements."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from report.charts import (
    ACCENT,
    DIVERGING,
    FAINT,
    INK,
    ROW_INCHES,
    SEQUENTIAL,
    label_matrix,
    new_figure,
    to_svg,
)
from trainer.evaluation.findings import (
    Calibration,
    Confusion,
    Curve,
    Estimate,
    GenreFinding,
    Graphs,
    Group,
    Matrix,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

GRID_COLUMNS, GRID_ROWS = 4, 3
"""Columns and rows of one grid of precision-recall curves."""
MAX_GENRE_ROWS = 17
"""Genres in one chart of average precision: more would need small names to fit the page's height."""
SMALL_LABELS_FROM = 25
"""Number of genres from which the labels of a small heat map are small."""


def draw_groups(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    """Return a chart of each metric of each group, with its interval."""
    figure = Figure(figsize=(7, 1 + ROW_INCHES * len(groups)), layout="constrained")
    names = [f"{group.name} ({group.tracks:,})" for group in groups]
    for axes, metric in zip(
        np.atleast_1d(figure.subplots(1, len(metrics), sharey=True)), metrics, strict=True
    ):
        _draw_intervals(axes, [group.metrics[metric] for group in groups], ACCENT)
        axes.set_title(metric, fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.grid(axis="x", color=FAINT, linewidth=0.4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return to_svg(figure)


def draw_genres(genres: Sequence[GenreFinding]) -> list[str]:
    """Return charts of each genre's average precision and its interval, with lyrics and without."""
    parts = np.array_split(np.arange(len(genres)), math.ceil(len(genres) / MAX_GENRE_ROWS))
    return [_draw_genre_rows([genres[at] for at in part]) for part in parts]


def _draw_genre_rows(genres: Sequence[GenreFinding]) -> str:
    figure, axes = new_figure(7, 1 + 1.3 * ROW_INCHES * len(genres))
    _draw_intervals(axes, [finding.average_precision for finding in genres], ACCENT, -0.1, "with lyrics")
    _draw_intervals(
        axes, [finding.average_precision_lyrics_dropped for finding in genres], FAINT, 0.2, "lyrics dropped"
    )
    axes.set_yticks(range(len(genres)), [f"{finding.genre.name} ({finding.tracks:,})" for finding in genres])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("average precision")
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    figure.legend(loc="outside upper right", ncols=2)
    return to_svg(figure)


def draw_curves(genres: Sequence[GenreFinding], tracks: int) -> list[str]:
    """Return grids of precision-recall curves, one panel per genre."""
    drawn = [(finding, finding.curve) for finding in genres if finding.curve]
    step = GRID_COLUMNS * GRID_ROWS
    return [_draw_curve_grid(drawn[start : start + step], tracks) for start in range(0, len(drawn), step)]


def _draw_curve_grid(curves: Sequence[tuple[GenreFinding, Curve]], tracks: int) -> str:
    rows = math.ceil(len(curves) / GRID_COLUMNS)
    figure = Figure(figsize=(7, 0.4 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, GRID_COLUMNS, squeeze=False, sharex=True, sharey=True).flatten()
    for axes in grid[len(curves) :]:
        axes.set_axis_off()
    for axes, (finding, curve) in zip(grid, curves, strict=False):
        axes.axhline(finding.tracks / tracks, color=FAINT, linewidth=0.8)
        axes.plot(curve.recall, curve.precision, color=ACCENT, linewidth=1.2)
        if finding.precision is not None and finding.recall is not None:
            axes.plot([finding.recall], [finding.precision], "o", color=INK, markersize=4)
        axes.set_title(f"{finding.genre.name} {finding.average_precision.value:.2f}", fontsize=8)
        axes.set_xlim(0, 1.03)
        axes.set_ylim(0, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.tick_params(labelsize=7)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return to_svg(figure)


def draw_calibration(calibration: Calibration) -> str:
    """Return a chart of the share of correct decisions by score, above their numbers."""
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    scores = [bin_.mean_score for bin_ in calibration.bins]
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    above.plot(scores, [bin_.share_correct for bin_ in calibration.bins], color=ACCENT, marker="o")
    above.set_ylabel("share that have the genre")
    above.set_ylim(0, 1.02)
    below.bar(scores, [bin_.decisions for bin_ in calibration.bins], width=0.04, color=ACCENT)
    below.set_yscale("log")
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    below.set_ylabel("decisions")
    below.set_xlabel("score")
    below.set_xlim(0, 1.02)
    return to_svg(figure)


def draw_confusions(confusions: Sequence[Confusion], slugs: Sequence[str]) -> str:
    """Return a heat map: the share of the row's tracks for which the column was predicted instead."""
    index = {slug: at for at, slug in enumerate(slugs)}
    shares = np.zeros((len(slugs), len(slugs)))
    for pair in confusions:
        if pair.missed in index and pair.predicted in index:
            shares[index[pair.missed], index[pair.predicted]] = pair.share
    side = 1.6 + ROW_INCHES * len(slugs)
    figure, axes = new_figure(side + 0.8, side)
    highest = max(0.01, float(shares.max(initial=0)))
    drawn = axes.pcolormesh(shares, cmap=SEQUENTIAL, vmin=0, vmax=highest, edgecolors="white", linewidth=0.5)
    label_matrix(axes, slugs)
    axes.set_xlabel("predicted instead")
    axes.set_ylabel("missed")
    figure.colorbar(drawn, ax=axes, shrink=0.6, label="share of the row's tracks")
    return to_svg(figure)


def draw_graphs(graphs: Graphs, slugs: Sequence[str], chosen: Sequence[int]) -> str:
    """Return heat maps of the given, the learned and the observed genre graph, and learned against observed.

    `chosen` are the indices of the genres that are drawn.
    """
    names = [slugs[at] for at in chosen]
    given, learned, observed = (
        _array(matrix)[np.ix_(chosen, chosen)]
        for matrix in (graphs.correlations, graphs.learned, graphs.observed)
    )
    side = 2.4 + 0.14 * len(chosen)
    figure = Figure(figsize=(2 * side, 2 * side), layout="constrained")
    panels = figure.subplots(2, 2)
    titles = ("the genre graph A", "observed: P(column given row)", "learned: cosine of genre vectors")
    colours = mpl.colormaps[DIVERGING].with_extremes(bad="#dddddd")
    for axes, title, values in zip(panels.flat, titles, (given, observed, learned), strict=False):
        drawn = axes.pcolormesh(
            np.ma.masked_invalid(values), cmap=colours, vmin=-1, vmax=1, edgecolors="white", linewidth=0.3
        )
        axes.set_title(title, fontsize=9)
        label_matrix(axes, names)
        axes.tick_params(labelsize=7 if len(chosen) < SMALL_LABELS_FROM else 5)
    figure.colorbar(drawn, ax=panels[1, 0], shrink=0.6, location="left")
    points = panels[1, 1]
    pairs = ~np.eye(len(chosen), dtype=bool)
    points.scatter(learned[pairs], observed[pairs], s=10, color=ACCENT, alpha=0.6)
    points.set_title("every pair of genres", fontsize=9)
    points.set_xlabel("learned")
    points.set_ylabel("observed")
    return to_svg(figure)


def _draw_intervals(
    axes: "Axes", estimates: Sequence[Estimate], colour: str, below: float = 0.0, label: str | None = None
) -> None:
    """Draw a point and the line of its interval in each row; undefined values are left out."""
    at = [row + below for row, estimate in enumerate(estimates) if estimate.value is not None]
    defined = [
        (estimate.value, estimate.low, estimate.high) for estimate in estimates if estimate.value is not None
    ]
    values, lows, highs = np.array(defined, dtype=float).reshape(-1, 3).T
    # The interval of the resamples may lie beside the value itself.
    errors = np.maximum(0, [values - lows, highs - values])
    axes.errorbar(values, at, xerr=errors, fmt="o", color=colour, markersize=4, linewidth=1.5, label=label)


def _array(matrix: Matrix) -> "NDArray[np.float64]":
    return np.array([[np.nan if cell is None else cell for cell in row] for row in matrix])
