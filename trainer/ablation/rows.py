"""Which networks the ablation compares, and what the paper says of them."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from trainer.config import TrainingConfig

PARTS = {
    "contrastive": "L_AL",
    "cross_attention": "SCMA",
    "genre_graph": "GCEM",
}
"""A part's switch in the network's configuration, to its name in the paper."""

FULL, CONCATENATION, LATE_FUSION, AUDIO_ONLY = "full", "concatenation", "late-fusion", "audio-only"

LAMBDAS = tuple(number / 10 for number in range(10))
"""The paper's sweep."""


@dataclass(frozen=True)
class Row:
    """A network of its own; every other setting is that of the whole ablation."""

    name: str
    network: tuple[tuple[str, Any], ...]
    """Settings that differ from the full method."""
    contrastive_weight: float | None = None
    """λ, where it is not the configured one."""

    def run(self, config: TrainingConfig, seed: int) -> "Run":
        fit: dict[str, Any] = {"seed": seed}
        if self.contrastive_weight is not None:
            fit["contrastive_weight"] = self.contrastive_weight
        network = config.network.model_dump() | dict(self.network)
        changed = {"network": network, "fit": config.fit.model_dump() | fit}
        return Run(self.name, seed, TrainingConfig.model_validate(changed))


@dataclass(frozen=True)
class Run:
    """A row with a seed."""

    row: str
    seed: int
    config: TrainingConfig

    @property
    def name(self) -> str:
        return f"{self.row}-{self.seed}"


class Result(BaseModel):
    """What a finished run leaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    row: str
    seed: int
    config: TrainingConfig
    tracks: str
    """Identity of the tracks, their splits and their genres."""
    metrics: dict[str, float]
    """Of the test split, by the thresholds that fit the validation split best."""
    seconds: float


def part_row(parts: tuple[bool, ...]) -> str:
    """The name of the row with these of `PARTS`.

    With none of them both encoders' outputs are concatenated.
    """
    names = [name.replace("_", "-") for name, on in zip(PARTS, parts, strict=True) if on]
    if len(names) == len(PARTS):
        return FULL
    return "+".join(names) or CONCATENATION


AUDIO_ONLY_ROW = Row(AUDIO_ONLY, tuple((dict.fromkeys(PARTS, False) | {"lyrics": False}).items()))
"""Santana et al. (2020): the same audio encoder and head, and no lyrics."""

LATE_FUSION_ROW = Row(LATE_FUSION, tuple((dict.fromkeys(PARTS, False) | {"fusion_layers": 2}).items()))
"""Pandeya and Lee (2021): both encoders' outputs concatenated, and a hidden layer behind them.

Where every row has that layer, it is the row without any part."""

COMBINATIONS = (
    (False, False, False),
    (True, False, False),
    (False, True, False),
    (False, False, True),
    (True, True, False),
    (True, False, True),
    (False, True, True),
    (True, True, True),
)
"""Which of `PARTS` are on, in the order of the paper's table."""

PART_ROWS = tuple(Row(part_row(parts), tuple(zip(PARTS, parts, strict=True))) for parts in COMBINATIONS)


def lambda_row(weight: float, configured: float) -> Row:
    """The full method at λ = `weight`: one of the other rows where that is the same."""
    if weight == configured:
        return PART_ROWS[-1]
    if weight == 0:
        return next(row for row in PART_ROWS if row.name == part_row((False, True, True)))
    return Row(f"lambda-{weight}", PART_ROWS[-1].network, weight)


def planned(config: TrainingConfig, seeds: int) -> list[Run]:
    """Every run once: all rows with the first seed before any with the second, the sweep last.

    What matters most comes first: the full method and the baselines.
    """
    late_fusion = () if config.network.fusion_layers == 2 else (LATE_FUSION_ROW,)
    order = (PART_ROWS[-1], PART_ROWS[0], *late_fusion, AUDIO_ONLY_ROW, *PART_ROWS[1:-1])
    rows = [(row, seed) for seed in range(seeds) for row in order]
    sweep = [(lambda_row(weight, config.fit.contrastive_weight), 0) for weight in LAMBDAS]
    return [row.run(config, seed) for row, seed in dict.fromkeys(rows + sweep)]


PAPER_BASELINES = {
    "Santana et al., audio only": (0.354, 0.419),
    "Pandeya and Lee, concatenated": (0.387, 0.442),
}
PAPER = {
    CONCATENATION: (0.372, 0.438),
    "contrastive": (0.396, 0.475),
    "cross-attention": (0.408, 0.491),
    "genre-graph": (0.403, 0.487),
    "contrastive+cross-attention": (0.425, 0.513),
    "contrastive+genre-graph": (0.419, 0.508),
    "cross-attention+genre-graph": (0.437, 0.515),
    FULL: (0.456, 0.534),
}
"""Accuracy and F-measure on Music4All, as Ru et al. print them."""

PAPER_LAMBDAS = dict(
    zip(LAMBDAS, (0.437, 0.440, 0.443, 0.456, 0.452, 0.423, 0.411, 0.392, 0.383, 0.351), strict=True)
)
"""Accuracy on Music4All by λ."""
