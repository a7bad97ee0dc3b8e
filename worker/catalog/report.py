"""`cogenre catalog report`: the catalog as one self-contained HTML page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from report.page import key_figures, render_page, section, table
from schemas.errors import ConfigError

Row = dict[str, Any]

QUERIES = {
    "refreshed": "select at from analytics.refreshed",
    "coverage": "select * from analytics.coverage",
    "weeks": "select * from analytics.coverage_week order by week",
    "genres": "select genre, tracks from analytics.genre where tracks > 0 order by tracks desc, genre",
    "pairs": "select * from analytics.learned_and_observed order by n desc, genre_a, genre_b",
    "surprises": """
        select genre_a, genre_b, trim_scale(learned_rank::numeric) as learned_rank,
               trim_scale(observed_rank::numeric) as observed_rank, learned_correlation, b_given_a, n
        from analytics.learned_and_observed k
        where learned_correlation is not null
        order by abs(k.learned_rank - k.observed_rank) desc, n desc, genre_a, genre_b limit 10
    """,
    # The first and the current week are left out, because they are incomplete. A genre without tracks in a
    # week gets 0.
    "drift": """
        select w.week, g.genre, coalesce(s.share, 0) as share
        from analytics.coverage_week w
        cross join analytics.genre g
        left join analytics.genre_week s on s.week = w.week and s.genre = g.genre
        where w.labelled + w.no_genre > 0 and g.tracks > 0
          and w.week > (select min(week) from analytics.coverage_week)
          and w.week < (select date_trunc('week', at at time zone 'UTC')::date from analytics.refreshed)
        order by w.week, g.genre
    """,
    "growth": """
        select genre, before, lately, change from analytics.genre_growth
        where change is not null order by abs(change) desc, genre limit 8
    """,
    "models": "select model, status, tracks, coverage, agreement from analytics.model order by rank desc",
    "calibration": "select * from analytics.calibration order by mean_score",
    "failures": """
        select stage, error_class, count(*) as jobs, max(failed_at) as latest
        from analytics.failure group by stage, error_class order by jobs desc, stage, error_class limit 20
    """,
}
"""The page's queries, by name."""

MAX_GENRES = 40
"""Number of genres in the heat map and the drift chart: those with the most tracks."""

STYLE = "@media print { section { break-inside: avoid; } }"


def write_report(engine: Engine, file: Path) -> None:
    """Write the page to `file`. Raises ConfigError if it cannot be written, or matplotlib is missing."""
    # One snapshot for all queries, because a refresh may finish between two queries.
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        results = {name: _fetch_rows(connection, query) for name, query in QUERIES.items()}
    try:
        page = render(results, datetime.now(UTC))
    except ModuleNotFoundError:
        raise ConfigError("the report needs the extra `analyse`: pip install 'cogenre[analyse]'") from None
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None


def render(results: dict[str, list[Row]], now: datetime) -> str:
    """Return the page for the results of `QUERIES`, by name."""
    from worker.catalog import charts

    genres, pairs = results["genres"], results["pairs"]
    most_frequent = [row["genre"] for row in genres[:MAX_GENRES]]
    (coverage,) = results["coverage"]
    parts = [_key_figures(coverage, len(genres))]
    if genres:
        parts += [
            section(
                "Genres",
                "Number of tracks with each genre; a track can have several.",
                charts.draw_distribution(genres),
            ),
            section(
                "Genres that occur together",
                "Phi, the correlation of two labels over all classified tracks: red pairs occur together "
                "more often than if they were independent, blue ones less often.",
                charts.draw_heat_map(most_frequent, pairs),
                charts.draw_network(
                    genres[:MAX_GENRES],
                    [p for p in pairs if {p["genre_a"], p["genre_b"]} <= set(most_frequent)],
                ),
                _rows_table(
                    [p for p in pairs if p["genre_a"] < p["genre_b"] and p["n"]][:15],
                    ["genre_a", "genre_b", "n", "lift", "phi"],
                ),
            ),
        ]
    if any(pair["learned_correlation"] is not None for pair in pairs):
        parts.append(
            section(
                "Learned and observed correlations of genres",
                "Each point is an ordered pair of genres A, B. Its coordinates are two ranks of B among the "
                "genres that occur with A: by the model's genre graph, and by the share of the tracks with A "
                "that also have B. Above the line, B ranks higher in the catalog than in the model; "
                "below it, lower. The table lists the pairs with the largest differences.",
                charts.draw_learned_correlation(pairs),
                _rows_table(
                    results["surprises"],
                    [
                        "genre_a",
                        "genre_b",
                        "learned_rank",
                        "observed_rank",
                        "learned_correlation",
                        "b_given_a",
                        "n",
                    ],
                ),
            )
        )
    parts.append(_calibration_section(results["calibration"]))
    if results["weeks"]:
        parts.append(
            section(
                "Coverage and failures",
                "Tracks by the week in which they were ingested.",
                charts.draw_coverage(results["weeks"]),
                _rows_table(
                    results["failures"], ["stage", "error_class", "jobs", "latest"], "No failure is open."
                ),
            )
        )
    if results["drift"]:
        parts.append(
            section(
                "Weekly drift",
                "Each genre's share of the tracks ingested in each whole week; each chart has its own scale. "
                "The table has the largest changes between the last four weeks and the four before.",
                charts.draw_drift(results["drift"], most_frequent),
                _rows_table(results["growth"], ["genre", "before", "lately", "change"], "Too few weeks."),
            )
        )
    parts.append(
        section(
            "Models",
            "Coverage: share of all classified tracks whose shown audio and lyrics this model classified. "
            "Agreement: share of the labels that this model and the current one have in common, on tracks "
            "that both classified.",
            _rows_table(results["models"], ["model", "status", "tracks", "coverage", "agreement"]),
        )
    )
    refreshed = results["refreshed"][0]["at"]
    when = f"Written {now:%Y-%m-%d %H:%M} UTC, from counts refreshed {refreshed:%Y-%m-%d %H:%M} UTC."
    return render_page("The catalog's genres", when, parts, STYLE)


def _calibration_section(bins: Sequence[Row]) -> str:
    from worker.catalog import charts

    title = "Scores and feedback"
    if not bins:
        return section(title, "There is no feedback yet. Add some with `cogenre feedback add`.")
    return section(
        title,
        "On the diagonal, 80 % of the labels with a score of 0.8 are correct. Numbers at points: feedback.",
        charts.draw_calibration(bins),
    )


def _key_figures(coverage: Row, genres: int) -> str:
    figures = {
        "tracks": coverage["registered"],
        "with labels": f"{coverage['share'] or 0:.1%}",
        "failed": coverage["failed"],
        "waiting": coverage["waiting"],
        "genres": genres,
    }
    return key_figures(figures)


def _rows_table(rows: Sequence[Row], columns: Sequence[str], empty: str = "None.") -> str:
    """Return a table of these columns of query rows."""
    headings = [column.replace("_", " ") for column in columns]
    return table(headings, [[row[column] for column in columns] for row in rows], empty)


def _fetch_rows(connection: Connection, query: str) -> list[Row]:
    return [dict(row) for row in connection.execute(text(query)).mappings()]
