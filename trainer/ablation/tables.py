"""The ablation's tables: means and standard deviations over seeds, and separately the paper's numbers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from report.markdown import markdown_table
from trainer.ablation.rows import (
    AUDIO_ONLY,
    COMBINATIONS,
    CONCATENATION,
    FULL,
    LAMBDAS,
    LATE_FUSION,
    PAPER,
    PAPER_BASELINES,
    PAPER_LAMBDAS,
    PART_ROWS,
    PARTS,
    Result,
    lambda_row,
    part_row_name,
)

METRICS = {
    "accuracy": "accuracy",
    "f1": "F1",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "map": "mAP",
    "roc_auc": "ROC-AUC",
    "subset_accuracy": "subset accuracy",
}


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation of a metric over seeds."""

    mean: float
    spread: float
    """Sample standard deviation; 0 for a single seed."""
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Return the summary of one value for each seed."""
        return cls(mean(values), stdev(values) if len(values) > 1 else 0.0, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.spread:.3f}" if self.seeds > 1 else f"{self.mean:.3f}"

    @property
    def as_json(self) -> dict[str, float]:
        return {"mean": round(self.mean, 6), "spread": round(self.spread, 6), "seeds": self.seeds}


@dataclass(frozen=True)
class Scores:
    """Metrics of the finished runs, by row and seed."""

    results: Sequence[Result]

    def values(self, row: str, metric: str) -> dict[int, float]:
        """Return the values of a metric by seed."""
        return {result.seed: result.metrics[metric] for result in self.results if result.row == row}

    def summary(self, row: str, metric: str) -> Summary | None:
        """Return the mean and the spread of a metric; None if no run of the row has finished."""
        values = self.values(row, metric)
        return Summary.of(list(values.values())) if values else None

    def difference(self, rows: Iterable[str], baselines: Iterable[str], metric: str) -> Summary | None:
        """Return the mean gain of `rows` over `baselines`, by pair and by seed; None without runs."""
        pairs = [
            (self.values(a, metric), self.values(b, metric)) for a, b in zip(rows, baselines, strict=True)
        ]
        seeds = set.intersection(*(set(a) & set(b) for a, b in pairs))
        gains = [mean(a[seed] - b[seed] for a, b in pairs) for seed in sorted(seeds)]
        return Summary.of(gains) if gains else None


def differences(scores: Scores, metric: str) -> dict[str, Summary | None]:
    """Return the gain of the full method over each baseline, and of each part over the rows without it."""
    gains = {
        f"full above {name}": scores.difference([FULL], [name], metric)
        for name in (AUDIO_ONLY, *_late_fusion(scores), CONCATENATION)
    }
    for number, name in enumerate(PARTS.values()):
        without_part = [parts for parts in COMBINATIONS if not parts[number]]
        with_part = [(*parts[:number], True, *parts[number + 1 :]) for parts in without_part]
        gains[f"{name} added"] = scores.difference(
            map(part_row_name, with_part), map(part_row_name, without_part), metric
        )
    return gains


def _late_fusion(scores: Scores) -> list[str]:
    """Return the row of late fusion, unless it equals the row without any part."""
    return [LATE_FUSION] if scores.values(LATE_FUSION, "map") else []


def as_json(results: Sequence[Result], about: Mapping[str, Any], configured: float) -> str:
    """Return the content of `ablation.json`: every row's means, spreads and runs, and the paper's numbers."""
    scores = Scores(results)
    rows = {
        name: {metric: summary.as_json for metric in METRICS if (summary := scores.summary(name, metric))}
        for name in dict.fromkeys(result.row for result in results)
    }
    gains = {
        metric: {name: summary.as_json for name, summary in differences(scores, metric).items() if summary}
        for metric in ("accuracy", "f1", "map")
    }
    sweep = {str(weight): lambda_row(weight, configured).name for weight in LAMBDAS}
    paper = {
        "data_set": "Music4All",
        "rows": {
            name: {"accuracy": accuracy, "f": f} for name, (accuracy, f) in (PAPER_BASELINES | PAPER).items()
        },
        "lambda": {str(weight): {"accuracy": value} for weight, value in PAPER_LAMBDAS.items()},
    }
    runs = [result.model_dump(include={"row", "seed", "metrics", "seconds"}) for result in results]
    content = {
        "about": about,
        "rows": rows,
        "differences": gains,
        "lambda_rows": sweep,
        "runs": runs,
        "paper": paper,
    }
    return json.dumps(content, indent=2) + "\n"


def as_markdown(results: Sequence[Result], about: Mapping[str, Any], configured: float) -> str:
    """Return the content of `ablation.md`."""
    scores = Scores(results)
    names = [AUDIO_ONLY, *_late_fusion(scores), *(row.name for row in PART_ROWS)]
    sections = [
        "# Ablation",
        markdown_table(["", ""], [[key, str(value)] for key, value in about.items()]),
        "Means over seeds ± standard deviation, on the test split. Both baselines use the same encoders as "
        "the other rows: audio only follows Santana et al. (2020), with the same head. Late fusion of both "
        "encoders' outputs, followed by a hidden layer, is after Pandeya and Lee (2021): "
        + (
            "it has its own row. Concatenation is the method without its parts."
            if _late_fusion(scores)
            else "it is the row concatenation (the method without its parts), since every row has that layer."
        ),
        markdown_table(
            ["method", *PARTS.values(), *METRICS.values()],
            [
                [
                    name,
                    *_part_marks(name),
                    *(_format_summary(scores.summary(name, metric)) for metric in METRICS),
                ]
                for name in names
            ],
        ),
        "## What each part adds",
        "Differences between runs with the same seed: mean ± standard deviation. A part is measured four "
        "times per seed, once with each combination of the other two parts.",
        _gain_table(scores),
        "## λ",
        "The full method with one seed.",
        markdown_table(
            ["λ", "accuracy", "F1", "mAP"],
            [
                [
                    str(weight),
                    *(
                        _format_first_seed(scores, lambda_row(weight, configured).name, m)
                        for m in _SHORT_METRICS
                    ),
                ]
                for weight in LAMBDAS
            ],
        ),
        "## The paper's numbers",
        "From Ru et al., on **Music4All: another data set and another task**. Compare only the order of the "
        "rows, not the values.",
        markdown_table(
            ["method", *PARTS.values(), "accuracy", "F"],
            [
                [name, *_part_marks(name), f"{accuracy:.3f}", f"{f:.3f}"]
                for name, (accuracy, f) in (PAPER_BASELINES | PAPER).items()
            ],
        ),
        markdown_table(
            ["λ", "accuracy"], [[str(weight), f"{value:.3f}"] for weight, value in PAPER_LAMBDAS.items()]
        ),
    ]
    return "\n\n".join(sections) + "\n"


_SHORT_METRICS = ("accuracy", "f1", "map")


def _gain_table(scores: Scores) -> str:
    by_metric = {metric: differences(scores, metric) for metric in _SHORT_METRICS}
    rows = []
    for name in by_metric["accuracy"]:
        cells = []
        for metric in _SHORT_METRICS:
            gain = by_metric[metric][name]
            is_within_spread = gain is not None and gain.seeds > 1 and abs(gain.mean) <= gain.spread
            cells.append(_format_gain(gain) + (" (within the spread)" if is_within_spread else ""))
        rows.append([name, *cells])
    return markdown_table(["", *(METRICS[metric] for metric in _SHORT_METRICS)], rows)


def _format_gain(gain: Summary | None) -> str:
    return "–" if gain is None else f"{gain.mean:+.3f} ± {gain.spread:.3f}"


def _format_summary(summary: Summary | None) -> str:
    return "–" if summary is None else str(summary)


def _format_first_seed(scores: Scores, row: str, metric: str) -> str:
    value = scores.values(row, metric).get(0)
    return "–" if value is None else f"{value:.3f}"


def _part_marks(name: str) -> list[str]:
    parts_on = next((parts for parts in COMBINATIONS if part_row_name(parts) == name), None)
    return [""] * len(PARTS) if parts_on is None else ["✓" if part else "–" for part in parts_on]
