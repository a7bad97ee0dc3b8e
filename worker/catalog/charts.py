"""Charts of the catalog's report, as SVG elements."""

import math
from collections.abc import Sequence
from datetime import timedelta
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from report.charts import ACCENT, DIVERGING, FAINT, INK, ROW_INCHES, label_matrix, new_figure, to_svg

Row = dict[str, Any]

SERIES = (ACCENT, "#d9a441", "#b5302a", "#6b4c9a", "#4f8a3d")
NETWORK_PHI = 0.03
"""Minimum phi of a pair that is drawn as a line in the network."""


def draw_distribution(genres: Sequence[Row]) -> str:
    """Return a bar chart of the tracks of each genre."""
    figure, axes = new_figure(7, 0.8 + ROW_INCHES * len(genres))
    names = [row["genre"] for row in genres][::-1]
    counts = [row["tracks"] for row in genres][::-1]
    bars = axes.barh(names, counts, color=ACCENT)
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=8)
    axes.set_xlabel("tracks")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.12)
    return to_svg(figure, "Bars: tracks of each genre.")


def draw_heat_map(genres: Sequence[str], pairs: Sequence[Row]) -> str:
    """Return a heat map of the correlation (phi) of every pair of genres."""
    phi = _matrix(genres, pairs, "phi")
    bound = max(0.05, float(np.nanmax(np.abs(phi), initial=0)))
    side = 1.6 + ROW_INCHES * len(genres)
    figure, axes = new_figure(side + 0.8, side)
    # Rectangles, not a bitmap: sharp in print, and smaller.
    drawn = axes.pcolormesh(phi, cmap=DIVERGING, vmin=-bound, vmax=bound, edgecolors="white", linewidth=0.5)
    label_matrix(axes, genres)
    figure.colorbar(drawn, ax=axes, shrink=0.6, label="phi")
    return to_svg(figure, "Heat map: correlation of each pair of genres.")


def draw_network(genres: Sequence[Row], pairs: Sequence[Row]) -> str:
    """Return a chart of genres on a circle, correlated ones side by side, joined by positive correlations."""
    order = _order_by_correlation(genres, pairs)
    angles = {genre: 2 * math.pi * at / len(order) for at, genre in enumerate(order)}
    figure, axes = new_figure(7, 7)
    max_tracks = max((row["tracks"] for row in genres), default=0) or 1
    for pair in pairs:
        phi = pair["phi"] or 0
        if pair["genre_a"] < pair["genre_b"] and phi >= NETWORK_PHI:
            ends = [angles[pair["genre_a"]], angles[pair["genre_b"]]]
            width = 0.5 + 12 * phi
            axes.plot(np.cos(ends), np.sin(ends), color=ACCENT, linewidth=width, alpha=0.45, zorder=1)
    for row in genres:
        angle = angles[row["genre"]]
        x, y = math.cos(angle), math.sin(angle)
        axes.scatter([x], [y], s=30 + 500 * row["tracks"] / max_tracks, color=INK, zorder=2)
        axes.text(
            1.12 * x,
            1.12 * y,
            row["genre"],
            va="center",
            ha="left" if x > 0.1 else "right" if x < -0.1 else "center",
        )
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.margins(0.25)
    return to_svg(figure, "Network: genres on a circle, joined if they occur together.")


def draw_learned_correlation(pairs: Sequence[Row]) -> str:
    """Return a chart of a neighbour's rank by learned correlation, against its rank in the catalog.

    Ranks, since a learned correlation is not a probability. Pairs are named in the table below the
    chart: labels in the chart would overlap.
    """
    known = [pair for pair in pairs if pair["learned_correlation"] is not None]
    figure, axes = new_figure(7, 5)
    axes.scatter(
        [pair["learned_rank"] for pair in known],
        [pair["observed_rank"] for pair in known],
        s=14,
        color=ACCENT,
        alpha=0.4,
    )
    axes.axline((1, 1), slope=1, color=FAINT, linewidth=1)
    axes.invert_xaxis()
    axes.invert_yaxis()
    axes.set_xlabel("rank by learned correlation, 1 = first")
    axes.set_ylabel("rank in the catalog, 1 = first")
    return to_svg(figure, "Points: each genre's neighbours, by rank in the model and in the catalog.")


def draw_calibration(bins: Sequence[Row]) -> str:
    """Return a chart of the share of labels that people found correct, by score, one line per model."""
    figure, axes = new_figure(7, 5)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    for colour, model in zip(cycle(SERIES), sorted({row["model"] for row in bins})):
        own = sorted((row for row in bins if row["model"] == model), key=lambda row: row["mean_score"])
        scores = [row["mean_score"] for row in own]
        axes.plot(scores, [row["share_correct"] for row in own], color=colour, marker="o", label=model)
        for row in own:
            axes.annotate(
                f"{row['votes']:,}",
                (row["mean_score"], row["share_correct"]),
                xytext=(5, -10),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_xlabel("score by the model")
    axes.set_ylabel("share correct by feedback")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    return to_svg(figure, "Lines, one per model: share of labels that people found correct, by score.")


def draw_coverage(weeks: Sequence[Row]) -> str:
    """Return a bar chart of the tracks ingested per week, by state."""
    figure, axes = new_figure(7, 3.6)
    days = [row["week"] for row in weeks]
    below = np.zeros(len(weeks))
    kinds = {
        "labelled": ACCENT,
        "no_genre": "#8fb8c4",
        "failed": "#b5302a",
        "not_shown": "#d9a441",
        "waiting": FAINT,
    }
    for kind, colour in kinds.items():
        counts = np.array([row[kind] for row in weeks], dtype=float)
        axes.bar(days, counts, width=6, bottom=below, color=colour, label=kind.replace("_", " "))
        below += counts
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylabel("tracks ingested per week")
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return to_svg(figure, "Bars: tracks ingested each week, by state.")


def draw_drift(weeks: Sequence[Row], genres: Sequence[str]) -> str:
    """Return small charts, one per genre, of its share of the tracks ingested each week.

    `weeks` has a row for every genre and week; where a week is missing, the lines have a gap.
    """
    columns = 4
    lines = max(1, math.ceil(len(genres) / columns))
    figure = Figure(figsize=(7, 1.2 * lines), layout="constrained")
    grid = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    first, last = weeks[0]["week"], weeks[-1]["week"]
    days = [first + timedelta(days=at) for at in range(0, (last - first).days + 1, 7)]
    shares = {(row["genre"], row["week"]): row["share"] for row in weeks}
    for axes, genre in zip(grid, genres, strict=False):
        own = [shares.get((genre, day), math.nan) for day in days]
        axes.plot(days, own, color=ACCENT, linewidth=1.2, marker="." if len(days) == 1 else None)
        axes.set_title(genre, fontsize=8)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        axes.tick_params(labelsize=6)
        axes.set_xticks(sorted({first, last}), [f"{day:%d %b %y}" for day in sorted({first, last})])
        axes.set_ylim(bottom=0)
    for axes in grid[len(genres) :]:
        axes.set_axis_off()
    return to_svg(figure, "Small line charts, one per genre: its share of the tracks ingested each week.")


def _matrix(genres: Sequence[str], pairs: Sequence[Row], value: str) -> Any:
    place = {genre: at for at, genre in enumerate(genres)}
    matrix = np.full((len(genres), len(genres)), np.nan)
    for pair in pairs:
        if pair[value] is not None and pair["genre_a"] in place and pair["genre_b"] in place:
            matrix[place[pair["genre_a"]], place[pair["genre_b"]]] = pair[value]
    return matrix


def _order_by_correlation(genres: Sequence[Row], pairs: Sequence[Row]) -> list[str]:
    """Return the genres in an order in which the most correlated of the remaining ones follows each."""
    phi = {(pair["genre_a"], pair["genre_b"]): pair["phi"] or 0 for pair in pairs}
    left = [row["genre"] for row in genres]
    order = [left.pop(0)] if left else []
    while left:
        nearest = max(left, key=lambda genre: phi.get((order[-1], genre), 0))
        left.remove(nearest)
        order.append(nearest)
    return order
